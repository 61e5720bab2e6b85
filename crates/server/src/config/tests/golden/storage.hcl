listener "tcp" { tls_disable = true }
listener "tcp" { tls_disable = true }
storage "raft" {
  path    = "/x"
  node_id = "a"
}
storage "redb" {}
ha_storage "consul" {}
plugin_directory = "/p"
raw_storage_endpoint = true
initialize "x" { }
