listener "tcp" {
  address = "localhost"
  tls_min_version = "tls10"
  tls_cipher_suites = "TLS_RSA_WITH_RC4_128_SHA,TLS_AES_128_GCM_SHA256"
  tls_require_and_verify_client_cert = true
  tls_disable_client_certs = "true"
  http_read_timeout = "1x"
  max_request_size = "many"
  max_connections = -3
  x_forwarded_for_authorized_addrs = ["10.0.0.0/8", "10.0.0.0/99"]
  x_forwarded_for_hop_skips = -1
  proxy_protocol_behavior = "use_always"
  custom_response_headers {
    "default" = { "X-Vault-Me" = ["a"], "Bad Name" = ["b"] }
    "999"     = { "A" = ["b"] }
  }
}
listener "udp" {}
listener "unix" { socket_mode = "999" }
listener {
  address = "127.0.0.1:1"
}
storage "inmem" {}
