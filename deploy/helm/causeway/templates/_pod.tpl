{{/* Parts of the Pod. */}}

{{- define "causeway.image" -}}
{{- $image := .Values.image -}}
{{- $repository := $image.repository | default "causeway" -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* `imagePullSecrets`, as objects or, as under Istio's `global`, as names. */}}
{{- define "causeway.pullSecrets" -}}
{{- range .Values.imagePullSecrets }}
- name: {{ kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . }}
{{- end }}
{{- end -}}

{{/*
How Pods are replaced. The successor is ready before a Pod goes, except where it could not start beside it: on the same
Node's ports, or with a claim that one Node has.
*/}}
{{- define "causeway.strategy" -}}
{{- if .Values.strategy -}}
{{- toYaml .Values.strategy -}}
{{- else -}}
{{- $beside := not (or .Values.hostPorts (include "causeway.claimIsOfOneNode" .)) -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: {{ ternary 1 0 $beside }}
  maxUnavailable: {{ ternary 0 1 $beside }}
{{- end -}}
{{- end -}}

{{/* Whether what is known is kept in a claim that Pods of several Nodes cannot share. */}}
{{- define "causeway.claimIsOfOneNode" -}}
{{- $claim := .Values.snapshot.persistentVolumeClaim | default dict -}}
{{- if and .Values.snapshot.enabled $claim.enabled (not (has "ReadWriteMany" $claim.accessModes)) }}yes{{ end -}}
{{- end -}}

{{- define "causeway.claim" -}}
{{- .Values.snapshot.persistentVolumeClaim.existingClaim | default (printf "%s-snapshot" (include "causeway.name" .)) -}}
{{- end -}}

{{/* Who the Pod is, then what the user says. A name that the user gives is the user's. */}}
{{- define "causeway.env" -}}
{{- $env := list -}}
{{- $given := include "causeway.texts" .Values.env | fromJson -}}
{{- $taken := keys $given -}}
{{- range .Values.envVarFrom }}{{ $taken = append $taken .name }}{{ end -}}
{{- $fields := dict "POD_NAMESPACE" "metadata.namespace" "POD_NAME" "metadata.name" "POD_IP" "status.podIP" "NODE_NAME" "spec.nodeName" -}}
{{- if eq .Values.source.kind "xds" -}}
{{- $_ := set $fields "SERVICE_ACCOUNT" "spec.serviceAccountName" -}}
{{- if not (has "ISTIO_META_WORKLOAD_NAME" $taken) -}}
{{- $env = append $env (dict "name" "ISTIO_META_WORKLOAD_NAME" "value" (include "causeway.name" .)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $path := $fields -}}
{{- if not (has $name $taken) -}}
{{- $env = append $env (dict "name" $name "valueFrom" (dict "fieldRef" (dict "fieldPath" $path))) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $given -}}
{{- $env = append $env (dict "name" $name "value" $value) -}}
{{- end -}}
{{- concat $env (.Values.envVarFrom | default list) | toYaml -}}
{{- end -}}

{{/*
The ports where something listens, each by the name that it has by default, so that a Service may lead there by number or by
name; on the Node as well those to which the Service leads, where that is wanted.
*/}}
{{- define "causeway.containerPorts" -}}
{{- $made := include "causeway.ports" . | fromJson -}}
{{- $taken := list -}}
{{- range $name := list "status-port" "tls" "tls-istiod" "tls-webhook" }}
{{- $target := toString (get $made.targets $name) }}
{{- $listens := or (has $name (list "status-port" "tls")) (and $.Values.passthrough.enabled (get $.Values.networkGatewayPorts $name)) }}
{{- if and $listens (not (has $target $taken)) }}
{{- $taken = append $taken $target }}
{{- $found := dict }}
{{- range $made.ports }}
{{- if and (not $found) (has (toString .targetPort) (list $target $name)) }}{{ $found = . }}{{ end }}
{{- end }}
- {name: {{ $name }}, containerPort: {{ $target }}, protocol: TCP{{ if and $found $.Values.hostPorts }}, hostPort: {{ $found.port }}{{ end }}}
{{- end }}
{{- end }}
- {name: stats, containerPort: 15020, protocol: TCP}
{{- if .Values.xds.enabled }}
- {name: xds, containerPort: 18000, protocol: TCP}
{{- end }}
{{- if .Values.outbound.enabled }}
{{- range (include "causeway.outbound" . | fromJson).ports }}
- {name: outbound-{{ . }}, containerPort: {{ . }}, protocol: TCP}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether the gateway listens below 1024, which a user without capabilities may not do of itself. */}}
{{- define "causeway.hasLowPort" -}}
{{- $low := false -}}
{{- $gateway := include "causeway.gateway" . | fromYaml -}}
{{- range append $gateway.listeners $gateway.ready -}}
{{- if and . (lt (get (. | default dict) "address" | default "" | toString | splitList ":" | last | int) 1024) }}{{ $low = true }}{{ end -}}
{{- end -}}
{{- if $low }}yes{{ end -}}
{{- end -}}

{{- define "causeway.podSecurity" -}}
{{- if .Values.securityContext -}}
{{- toYaml .Values.securityContext -}}
{{- else -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if ne (.Values.platform | default "") "openshift" -}}
{{- $context = mustMerge $context (dict "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532) -}}
{{- end -}}
{{- if include "causeway.hasLowPort" . -}}
{{- $_ := set $context "sysctls" (list (dict "name" "net.ipv4.ip_unprivileged_port_start" "value" "0")) -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}
{{- end -}}

{{- define "causeway.containerSecurity" -}}
{{- if .Values.containerSecurityContext -}}
{{- toYaml .Values.containerSecurityContext -}}
{{- else -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- end -}}
{{- end -}}

{{/* `resources` without what is null, as JSON: so a limit is taken away. */}}
{{- define "causeway.resources" -}}
{{- $resources := dict -}}
{{- range $key, $values := .Values.resources -}}
{{- if kindIs "map" $values -}}
{{- $kept := dict -}}
{{- range $name, $value := $values -}}
{{- if $value }}{{ $_ := set $kept $name $value }}{{ end -}}
{{- end -}}
{{- if $kept }}{{ $_ := set $resources $key $kept }}{{ end -}}
{{- else if $values -}}
{{- $_ := set $resources $key $values -}}
{{- end -}}
{{- end -}}
{{- toJson $resources -}}
{{- end -}}

{{/* The folders of certificates, tokens and labels, as JSON: for clients of the xDS server, and as Istio's Pods have them for
istiod. By name: where it is mounted, and what it holds. */}}
{{- define "causeway.folders" -}}
{{- $folders := dict -}}
{{- if and .Values.xds.enabled .Values.xds.tlsSecret -}}
{{- $_ := set $folders "xds-tls" (dict "at" "/var/run/secrets/causeway-xds" "holds" (dict "secret" (dict "secretName" .Values.xds.tlsSecret))) -}}
{{- end -}}
{{- if eq .Values.source.kind "xds" -}}
{{- $token := dict "serviceAccountToken" (dict "audience" "istio-ca" "expirationSeconds" 43200 "path" "istio-token") -}}
{{- $labels := dict "path" "labels" "fieldRef" (dict "fieldPath" "metadata.labels") -}}
{{- $_ := set $folders "istio-token" (dict "at" "/var/run/secrets/tokens" "holds" (dict "projected" (dict "sources" (list $token)))) -}}
{{- $_ := set $folders "istiod-ca-cert" (dict "at" "/var/run/secrets/istio" "holds" (dict "configMap" (dict "name" "istio-ca-root-cert"))) -}}
{{- $_ := set $folders "istio-podinfo" (dict "at" "/etc/istio/pod" "holds" (dict "downwardAPI" (dict "items" (list $labels)))) -}}
{{- end -}}
{{- toJson $folders -}}
{{- end -}}
