{{- define "dewdrop.name" -}}
{{ default .Release.Name .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "dewdrop.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "dewdrop.selector" -}}
app.kubernetes.io/name: dewdrop
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "dewdrop.labels" -}}
{{ include "dewdrop.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "dewdrop.scheme" -}}
{{ if eq .Values.server.tls.mode "off" }}http{{ else }}https{{ end }}
{{- end }}

{{/* Where agents reach the server. */}}
{{- define "dewdrop.address" -}}
{{- if .Values.server.enabled -}}
{{ include "dewdrop.scheme" . }}://{{ include "dewdrop.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.server.service.port }}
{{- else -}}
{{ required "server.enabled=false needs external.address, the URL of your server" .Values.external.address }}
{{- end -}}
{{- end }}

{{- define "dewdrop.tlsSecret" -}}
{{ if eq .Values.server.tls.mode "auto" }}{{ include "dewdrop.name" . }}-tls{{ else }}{{ .Values.server.tls.secretName }}{{ end }}
{{- end }}

{{/* A volume with ca.crt of the server, or nothing. Never the key that lies beside it. */}}
{{- define "dewdrop.caVolume" -}}
{{- $secret := "" }}
{{- if .Values.server.enabled }}
{{- if ne .Values.server.tls.mode "off" }}{{ $secret = include "dewdrop.tlsSecret" . }}{{ end }}
{{- else }}{{ $secret = .Values.external.caSecret }}{{ end }}
{{- if $secret }}
- name: ca
  secret:
    secretName: {{ $secret }}
    items: [{ key: ca.crt, path: ca.crt }]
{{- else if and (not .Values.server.enabled) .Values.external.caConfigMap }}
- name: ca
  configMap:
    name: {{ .Values.external.caConfigMap }}
    items: [{ key: ca.crt, path: ca.crt }]
{{- end }}
{{- end }}

{{/* How any client in the cluster finds the server. */}}
{{- define "dewdrop.clientEnv" -}}
- name: DEWDROP_ADDR
  value: {{ include "dewdrop.address" . | quote }}
{{- if include "dewdrop.caVolume" . }}
- name: DEWDROP_CACERT
  value: /etc/dewdrop/ca/ca.crt
{{- end }}
{{- end }}

{{/* For what needs nothing of the machine: PSA "restricted". */}}
{{- define "dewdrop.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}
