listener "tcp" {
  adress          = "127.0.0.1:8200"
  tls_disable     = true
  max_request_sise = 3
}
storage "redb" { path = "/tmp/x" }
defualt_lease_ttl = "1h"
log_level = "loud"
frobnicate = 1
