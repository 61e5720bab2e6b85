listener "tcp" { tls_disable = true }
storage "inmem" {}
default_lease_ttl = "2h"
max_lease_ttl = "1h"
max_lease_ttl = "90m"
default_max_request_duration = "-5s"
telemetry {
  statsd_address = "x:1"
  prefix_filter = ["vault.x"]
  usage_gauge_period = "1y"
}
user_lockout "everyone" { }
user_lockout "userpass" { lockout_threshold = "five" }
