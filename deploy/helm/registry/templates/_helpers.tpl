{{- define "registry.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of everything: at most 50 characters, since a StatefulSet adds to it. */}}
{{- define "registry.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "registry.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "registry.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "registry.selector" -}}
app.kubernetes.io/name: {{ include "registry.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "registry.labels" -}}
{{ include "registry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "registry.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "registry.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "registry.image" -}}
{{- $repository := required "image.repository is not set: build the image with `docker build --target nonroot`, push it to a registry of yours, and set its name" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Secret with the file of users; empty if nobody logs in. */}}
{{- define "registry.users" -}}
{{- if .Values.users.anonymous -}}
{{- if or .Values.users.existingSecret .Values.users.htpasswd -}}
{{- fail "users.anonymous is true, and there are users: set one of them" -}}
{{- end -}}
{{- else if .Values.users.existingSecret -}}
{{- .Values.users.existingSecret -}}
{{- else if .Values.users.htpasswd -}}
{{- printf "%s-users" (include "registry.fullname" .) -}}
{{- else -}}
{{- fail "nobody could log in: set users.existingSecret or users.htpasswd, or users.anonymous to true if nobody has to log in" -}}
{{- end -}}
{{- end -}}

{{/* `filesystem`, or `bucket` for each of the other storages. */}}
{{- define "registry.kind" -}}
{{- ternary "filesystem" "bucket" (eq .Values.storage.type "filesystem") -}}
{{- end -}}

{{- define "registry.drain" -}}
{{- get .Values.drainSeconds (include "registry.kind" .) -}}
{{- end -}}

{{/* "true" if the store has no conditional requests, so that one replica may write. */}}
{{- define "registry.sole" -}}
{{- $sole := eq (int (default 0 (get (get .Values.storage .Values.storage.type) "replicas"))) 1 -}}
{{- if and $sole (ne (int .Values.replicas) 1) -}}
{{- fail (printf "storage.%s.replicas is 1, and replicas is %v: one pod at a time writes to this bucket, so set replicas to 1" .Values.storage.type .Values.replicas) -}}
{{- end -}}
{{- $sole -}}
{{- end -}}

{{/* Refuses a key of the store that belongs into a secret. */}}
{{- define "registry.secret" -}}
{{- $type := (index . 0).Values.storage.type -}}
{{- $variable := printf "REGISTRY_STORAGE_%s_%s" $type (index . 1) | replace "." "_" | upper -}}
{{- fail (printf "storage.%s.%s would be readable for everyone who reads ConfigMaps: make a secret with the variable %s, and set storage.secret to its name" $type (index . 1) $variable) -}}
{{- end -}}

{{/*
Configuration of the server: what the chart sets, with the values of `config` over it. The application log has a line for each
image, and the access log would have one for each probe. The pod's limit of memory has room for twice the documents.
*/}}
{{- define "registry.config" -}}
{{- $http := default dict .Values.config.http -}}
{{- if hasKey $http "draintimeout" -}}
{{- fail "config.http.draintimeout is set: set drainSeconds, which the pod's grace period follows" -}}
{{- end -}}
{{- if or (hasKey $http "addr") (hasKey (default dict $http.debug) "addr") -}}
{{- fail "config.http.addr or config.http.debug.addr is set: the ports of the pod are 5000 and 5001; set service.port" -}}
{{- end -}}
{{- $set := dict
    "version" 0.1
    "log" (dict "formatter" "json" "accesslog" (dict "disabled" true))
    "limits" (dict "documents" "64m")
    "storage" (dict "delete" (dict "enabled" true))
    "http" (dict
        "addr" ":5000"
        "draintimeout" (printf "%ss" (include "registry.drain" .))
        "headers" (dict "X-Content-Type-Options" (list "nosniff"))
        "debug" (dict "addr" ":5001" "prometheus" (dict "enabled" true)))
-}}
{{- if eq .Values.storage.type "filesystem" -}}
{{- $_ := set $set.storage "filesystem" (dict "rootdirectory" "/var/lib/registry" "minfree" .Values.storage.filesystem.minFree) -}}
{{- else -}}
{{- $keys := get .Values.storage .Values.storage.type -}}
{{- range list "accesskey" "secretkey" "sessiontoken" "accountkey" -}}
{{- if hasKey $keys . -}}
{{- include "registry.secret" (list $ .) -}}
{{- end -}}
{{- end -}}
{{- if hasKey (default dict $keys.credentials) "secret" -}}
{{- include "registry.secret" (list $ "credentials.secret") -}}
{{- end -}}
{{- if and (eq .Values.storage.type "gcs") (hasKey $keys "credentials") -}}
{{- fail "storage.gcs.credentials would be readable for everyone who reads ConfigMaps: mount the file of a secret with extraVolumes and extraVolumeMounts, and set storage.gcs.keyfile to its path" -}}
{{- end -}}
{{- $_ := set $set.storage .Values.storage.type (deepCopy $keys) -}}
{{- $_ := set $set.storage "redirect" (dict "disable" (not .Values.storage.redirect)) -}}
{{- end -}}
{{- if include "registry.users" . -}}
{{- $_ := set $set "auth" (dict "htpasswd" (dict "realm" "registry" "path" "/etc/registry/users/htpasswd")) -}}
{{- else -}}
{{- $_ := set $set "auth" "none" -}}
{{- end -}}
{{- if .Values.tls.secretName -}}
{{- $_ := set $set.http "tls" (dict "certificate" "/etc/registry/tls/tls.crt" "key" "/etc/registry/tls/tls.key") -}}
{{- end -}}
{{- if hasKey .Values.files "access.yml" -}}
{{- $_ := set $set "access" (dict "rules" "/etc/registry/files/access.yml") -}}
{{- end -}}
{{- mergeOverwrite $set (deepCopy .Values.config) | toYaml -}}
{{- end -}}
