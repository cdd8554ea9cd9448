{{/* What the notes name: values that are not known, mean nothing here, or do not go together. One a line. */}}
{{- define "causeway.warnings" -}}
{{- $known := .Files.Get "known.yaml" | fromYaml -}}
{{- $unknown := list -}}
{{- $idle := list -}}
{{- range $key, $_ := .Values -}}
{{- if has $key $known.accepted -}}
{{- $idle = append $idle $key -}}
{{- else if not (has $key $known.top) -}}
{{- $unknown = append $unknown $key -}}
{{- end -}}
{{- end -}}
{{- range $section, $keys := mustMerge (deepCopy $known.sections) $known.gateway -}}
{{- $given := get $.Values $section -}}
{{- if kindIs "map" $given -}}
{{- range $key, $_ := $given -}}
{{- if not (has $key $keys) }}{{ $unknown = append $unknown (printf "%s.%s" $section $key) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $unknown }}
- not known, and ignored: {{ join ", " (sortAlpha .) }}. `helm show values` lists what there is; any setting of gateway.yaml
  may stand under `config`.
{{- end }}
{{- with $idle }}
- of istio/gateway, and without meaning here: {{ join ", " (sortAlpha .) }}.
{{- end }}
{{- with (include "causeway.ports" . | fromJson).left }}
- left out of service.ports: {{ join ", " . }}. Metrics, admin and the way out are never on the public Service.
{{- end }}
{{- $label := get (.Values.labels | default dict) "topology.istio.io/network" }}
{{- if and $label .Values.networkGateway (ne (toString $label) .Values.networkGateway) }}
- networkGateway is {{ .Values.networkGateway }} and labels.topology.istio.io/network is {{ $label }}: the former counts.
{{- end }}
{{- if not (include "causeway.network" .) }}
- networkGateway is not set: other clusters do not find this gateway by its Service, and its own network is what the label
  topology.istio.io/network of namespace {{ .Values.discovery.istioNamespace }} says.
{{- end }}
{{- $drain := include "causeway.drain" . | fromJson }}
{{- if not $drain.fits }}
- terminationGracePeriodSeconds {{ .Values.terminationGracePeriodSeconds }} leaves less than `drain` asks for: announce is {{ $drain.announce }}, window {{ $drain.window }}.
{{- end }}
{{- range $hook := list "preStop" "postStart" }}
{{- with get (get (get $.Values.lifecycle $hook | default dict) "exec" | default dict) "command" }}
{{- if ne (base (first .)) "causeway" }}
- lifecycle.{{ $hook }}.exec: there is no {{ first . }} in the image, nor a shell{{ if eq $hook "postStart" }}, so the Pod will not start{{ else }}. preStop.sleep waits without one{{ end }}.
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .Values.rbac.enabled) (ne .Values.source.kind "xds") }}
- rbac.enabled is false: unless {{ include "causeway.serviceAccount" . }} has its roles from elsewhere, the gateway may read nothing and is never ready.
{{- end }}
{{- $told := list (include "causeway.cluster" .) .Values.config.cluster .Values.env.CAUSEWAY_CLUSTER .Values.env.ISTIO_META_CLUSTER_ID | compact }}
{{- range .Values.envVarFrom }}{{ if has .name (list "CAUSEWAY_CLUSTER" "ISTIO_META_CLUSTER_ID") }}{{ $told = append $told .name }}{{ end }}{{ end }}
{{- if and (eq .Values.source.kind "xds") (not $told) }}
- cluster.name is not set: istiod is not told which cluster this is, and the gateway may not look it up when it follows istiod.
{{- end }}
{{- if and .Values.hostPorts (eq .Values.kind "Deployment") }}
- hostPorts: there is room for one Pod on each Node; kind DaemonSet is meant for that.
{{- end }}
{{- $several := or (eq .Values.kind "DaemonSet") (gt (int (ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled)) 1) }}
{{- if and (include "causeway.claimIsOfOneNode" .) $several }}
- snapshot.persistentVolumeClaim is for one Node at a time: Pods on others will not start. ReadWriteMany, or one replica, is meant.
{{- end }}
{{- if and (eq .Values.service.type "None") (include "causeway.network" .) }}
- service.type is None: no Service bears the network's label, so no other cluster finds this gateway.
{{- end }}
{{- if gt (int .Values.config.busyPollMicros) 0 }}
{{- if and .Values.autoscaling.enabled .Values.autoscaling.targetCPUUtilizationPercentage }}
- config.busyPollMicros uses CPU for little traffic too, so autoscaling.targetCPUUtilizationPercentage adds Pods that are not needed.
{{- end }}
{{- if and (get (get .Values.resources "limits" | default dict) "cpu") (not .Values.config.workers) }}
- config.busyPollMicros without config.workers: workers that poll may use up resources.limits.cpu, and are stopped then. One worker fewer than that has cores is meant.
{{- end }}
{{- end }}
{{- end -}}
