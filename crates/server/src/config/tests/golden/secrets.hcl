listener "tcp" { tls_disable = true }
storage "etcd" {
  address  = "https://etcd:2379, nowhere"
  password = "hunter2"
  tls_cert_file = "/c"
}
seal "static" {
  current_key_id = "a" current_key = "c2VjcmV0LWluLWNsZWFy"
}
seal "static" { current_key = 5ecre7 }
seal "static" {
  current_key_id = "b"
  current_key =
    "hunter3
}
seal "awskms" {}
seal "shamir" {}
seal "shamir" {}
