listener "tcp" { tls_disable = true }
storage "inmem" {}
audit_log { reserve = "x" checkpoint = "1ms" chekpoint_lines = 4 }
audit "file" "a" { options { log_raw = "true" mode = "0777" fil_path = "/x" } }
audit "file" "b" { options { file_path = "/x" prefix = "p" format = "jsonx" } }
audit "file" "b" { options { file_path = "/y" } }
audit "socket" "c" { options { socket_type = "raw" } }
audit "syslog" "d" { options { facility = "X" } }
audit "kafka" "e" { }
audit "file" { }
