listener "tcp" {
  address = "127.0.0.1:8200
  tls_disable = maybe
}
storage "inmem" {}
api_addr =
log_level = 3x
ui = [true,
