{{/* Probe of `/`, which needs neither a login nor the storage. */}}
{{- define "registry.alive" -}}
httpGet:
  path: /
  port: http
  {{- if .Values.tls.secretName }}
  scheme: HTTPS
  {{- end }}
timeoutSeconds: 5
{{- end -}}

{{/* Template of the pods, whatever makes them. */}}
{{- define "registry.pod" -}}
{{- $kind := include "registry.kind" . -}}
metadata:
  labels:
    {{- include "registry.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # The server reads its configuration at the start only; a change replaces the pods.
    checksum/config: {{ include "registry.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "registry.serviceAccount" . }}
  automountServiceAccountToken: false
  # Without it, a service called `registry` sets `REGISTRY_PORT`, which looks like a setting of the server.
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  # {{ if eq $kind "bucket" }}`preStop`, the{{ else }}The{{ end }} drain, one second to store what was received, and a reserve.
  terminationGracePeriodSeconds: {{ add (include "registry.drain" .) (ternary .Values.preStopSeconds 0 (eq $kind "bucket")) 7 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: registry
      image: {{ include "registry.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [/etc/docker/registry/config.yml]
      {{- with .Values.env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .Values.envFrom .Values.storage.secret }}
      envFrom:
        {{- with .Values.storage.secret }}
        - secretRef:
            name: {{ . }}
        {{- end }}
        {{- with .Values.envFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      ports:
        - name: http
          containerPort: 5000
        - name: metrics
          containerPort: 5001
      startupProbe:
        {{- include "registry.alive" . | nindent 8 }}
        periodSeconds: 2
        {{- if eq $kind "bucket" }}
        # The server listens before it has reached the bucket, however long that takes. So this time is never used up.
        failureThreshold: 1800
        {{- else }}
        # Five minutes, for the index of a large directory.
        failureThreshold: 150
        {{- end }}
      # An outage of the storage restarts nothing.
      livenessProbe:
        {{- include "registry.alive" . | nindent 8 }}
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        {{- if eq $kind "bucket" }}
        # Fails while the replica cannot reach the bucket, so that another one gets the requests.
        httpGet:
          path: /debug/health
          port: metrics
        timeoutSeconds: 5
        {{- else }}
        # Not `/debug/health`: nobody else serves the images, and a full or read-only volume still serves pulls.
        {{- include "registry.alive" . | nindent 8 }}
        {{- end }}
        periodSeconds: 5
      {{- if eq $kind "bucket" }}
      # The server accepts no more connections once it is told to stop. By then, nobody should send any.
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .Values.preStopSeconds }}
      {{- end }}
      {{- with get .Values.resources $kind }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: config
          mountPath: /etc/docker/registry
          readOnly: true
        {{- if include "registry.users" . }}
        - name: users
          mountPath: /etc/registry/users
          readOnly: true
        {{- end }}
        {{- if .Values.files }}
        - name: files
          mountPath: /etc/registry/files
          readOnly: true
        {{- end }}
        {{- if .Values.tls.secretName }}
        - name: tls
          mountPath: /etc/registry/tls
          readOnly: true
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- if eq .Values.storage.type "filesystem" }}
        - name: images
          mountPath: /var/lib/registry
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "registry.fullname" . }}-config
    {{- with include "registry.users" . }}
    - name: users
      secret:
        secretName: {{ . }}
    {{- end }}
    {{- if .Values.files }}
    - name: files
      configMap:
        name: {{ include "registry.fullname" . }}-files
    {{- end }}
    {{- with .Values.tls.secretName }}
    - name: tls
      secret:
        secretName: {{ . }}
    {{- end }}
    # `registry import` and its kin keep here what they convert or read from a pipe.
    - name: tmp
      emptyDir:
        sizeLimit: 4Gi
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if eq .Values.storage.type "filesystem" }}
    {{- with .Values.storage.filesystem.existingClaim }}
    - name: images
      persistentVolumeClaim:
        claimName: {{ . }}
    {{- end }}
    {{- end }}
  {{- if eq $kind "bucket" }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      matchLabelKeys: [pod-template-hash]
      labelSelector:
        matchLabels:
          {{- include "registry.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
