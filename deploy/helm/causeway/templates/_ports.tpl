{{/*
The public Service's ports, as JSON:
  ports    what the Service has, in order
  targets  where the gateway listens: status-port, tls, tls-istiod, tls-webhook
  entry    the port by which other networks enter
  left     ports of the user's that are left out, because they lead to what is not public
*/}}
{{- define "causeway.ports" -}}
{{- $targets := dict "status-port" 15021 "tls" 15443 "tls-istiod" 15012 "tls-webhook" 15017 -}}
{{- $ports := list -}}
{{- $taken := dict -}}
{{- $names := dict -}}
{{- $entry := 15443 -}}
{{- range $name := list "status-port" "tls" "tls-istiod" "tls-webhook" -}}
{{- with get ($.Values.networkGatewayPorts | default dict) $name -}}
{{- $port := dict "name" $name "port" (int (.port | default (get $targets $name))) "protocol" (.protocol | default "TCP") -}}
{{- $_ := set $port "targetPort" (.targetPort | default (get $targets $name)) -}}
{{- with .nodePort }}{{ $_ := set $port "nodePort" (int .) }}{{ end -}}
{{- range $given := $.Values.service.ports -}}
{{- if and (eq (int $given.port) $port.port) (eq ($given.protocol | default "TCP") $port.protocol) -}}
{{- range $key := list "name" "targetPort" "nodePort" "appProtocol" -}}
{{- with get $given $key }}{{ $_ := set $port $key . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $target := include "causeway.number" $port.targetPort -}}
{{- if $target -}}
{{- $_ := set $port "targetPort" (int $target) -}}
{{- $_ := set $targets $name (int $target) -}}
{{- end -}}
{{- if include "causeway.isPrivate" (dict "root" $ "target" $port.targetPort) -}}
{{- fail (printf "networkGatewayPorts.%s.targetPort: %v is a port of the gateway that is not public" $name $port.targetPort) -}}
{{- end -}}
{{- if eq $name "tls" }}{{ $entry = $port.port }}{{ end -}}
{{- $_ := set $taken (printf "%d/%s" $port.port $port.protocol) true -}}
{{- $_ := set $names $port.name true -}}
{{- $ports = append $ports $port -}}
{{- end -}}
{{- end -}}
{{- $left := list -}}
{{- range $given := .Values.service.ports -}}
{{- $number := int $given.port -}}
{{- $protocol := $given.protocol | default "TCP" -}}
{{- $key := printf "%d/%s" $number $protocol -}}
{{- $target := $given.targetPort | default $number -}}
{{- if include "causeway.isPrivate" (dict "root" $ "target" $target) -}}
{{- $left = append $left $number -}}
{{- else if not (hasKey $taken $key) -}}
{{- $name := $given.name | default (printf "%s-%d" (lower $protocol) $number) -}}
{{- if hasKey $names $name }}{{ $name = printf "%s-%d" $name $number }}{{ end -}}
{{- $_ := set $taken $key true -}}
{{- $_ := set $names $name true -}}
{{- $target = include "causeway.number" $target | default $target -}}
{{- $port := dict "name" $name "port" $number "protocol" $protocol "targetPort" (ternary (int $target) $target (regexMatch "^[0-9]+$" (toString $target))) -}}
{{- with $given.nodePort }}{{ $_ := set $port "nodePort" (int .) }}{{ end -}}
{{- with $given.appProtocol }}{{ $_ := set $port "appProtocol" . }}{{ end -}}
{{- $ports = append $ports $port -}}
{{- end -}}
{{- end -}}
{{- dict "ports" $ports "targets" $targets "entry" $entry "left" $left | toJson -}}
{{- end -}}

{{/* The way out, as JSON {ports: [...], networks: {"15445": network3}}: every port once, and which network it stands for. */}}
{{- define "causeway.outbound" -}}
{{- $ports := list -}}
{{- range .Values.outbound.ports }}{{ $ports = append $ports (int .) }}{{ end -}}
{{- $networks := dict -}}
{{- range $network, $port := .Values.outbound.networks -}}
{{- if hasKey $networks (toString $port) -}}
{{- fail (printf "outbound.networks: port %v stands for %s and %s, but each network needs one" $port (get $networks (toString $port)) $network) -}}
{{- end -}}
{{- $_ := set $networks (toString $port) $network -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
{{- dict "ports" (uniq $ports) "networks" $networks | toJson -}}
{{- end -}}

{{/* Digits of a port number, however it was given; nothing of a name. */}}
{{- define "causeway.number" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+$" $text }}{{ $text }}{{ end -}}
{{- end -}}

{{/* Whether a target is one of the ports that no public Service may lead to: admin, metrics, xDS, outbound. */}}
{{- define "causeway.isPrivate" -}}
{{- $private := list "15000" "15020" "18000" "stats" "xds" -}}
{{- range (include "causeway.outbound" .root | fromJson).ports -}}
{{- $private = concat $private (list (toString .) (printf "outbound-%v" .)) -}}
{{- end -}}
{{- if has (toString .target) $private }}yes{{ end -}}
{{- end -}}

{{/* Any address, of both families: which of them Pods have is the cluster's business. */}}
{{- define "causeway.any" -}}
[::]
{{- end -}}
