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
  # The drain, one second to store what was received, and a reserve.
  terminationGracePeriodSeconds: {{ add (include "registry.drain" .) 7 }}
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
      {{- with .Values.envFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: http
          containerPort: 5000
        - name: metrics
          containerPort: 5001
      startupProbe:
        {{- include "registry.alive" . | nindent 8 }}
        periodSeconds: 2
        failureThreshold: 150
      # An outage of the storage restarts nothing.
      livenessProbe:
        {{- include "registry.alive" . | nindent 8 }}
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        # Not `/debug/health`: nobody else serves the images, and a full or read-only volume still serves pulls.
        {{- include "registry.alive" . | nindent 8 }}
        periodSeconds: 5
      {{- with .Values.resources }}
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
    - name: tmp
      emptyDir:
        sizeLimit: 64Mi
    {{- if eq .Values.storage.type "filesystem" }}
    {{- with .Values.storage.filesystem.existingClaim }}
    - name: images
      persistentVolumeClaim:
        claimName: {{ . }}
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
