{{/* gateway.yaml: only what values say; the rest is the gateway's own default. */}}
{{- define "causeway.gateway" -}}
{{- $targets := (include "causeway.ports" . | fromJson).targets -}}
{{- $any := include "causeway.any" . -}}
{{- $known := (.Files.Get "known.yaml" | fromYaml).gateway -}}
{{- $config := dict "source" (include "causeway.source" . | fromJson) -}}
{{- with include "causeway.xds" . | fromJson }}{{ $_ := set $config "xds" . }}{{ end -}}
{{- $_ := set $config "ready" (dict "address" (printf "%s:%v" $any (get $targets "status-port"))) -}}
{{- $_ := set $config "stats" (dict "address" (printf "%s:15020" $any)) -}}
{{- $listeners := list (dict "address" (printf "%s:%v" $any $targets.tls) "role" "inbound") -}}
{{- $taken := list (toString $targets.tls) (toString (get $targets "status-port")) -}}
{{- if .Values.passthrough.enabled -}}
{{- range $name := list "tls-istiod" "tls-webhook" -}}
{{- $port := toString (get $targets $name) -}}
{{- if and (get $.Values.networkGatewayPorts $name) (not (has $port $taken)) -}}
{{- $taken = append $taken $port -}}
{{- $listeners = append $listeners (dict "address" (printf "%s:%s" $any $port) "role" "passthrough") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.outbound.enabled -}}
{{- $outbound := include "causeway.outbound" . | fromJson -}}
{{- range $port := $outbound.ports -}}
{{- $listener := dict "address" (printf "%s:%v" $any $port) "role" "outbound" -}}
{{- with get $outbound.networks (toString $port) }}{{ $_ := set $listener "network" . }}{{ end -}}
{{- $listeners = append $listeners $listener -}}
{{- end -}}
{{- end -}}
{{- $_ := set $config "listeners" $listeners -}}
{{- with include "causeway.cluster" . }}{{ $_ := set $config "cluster" . }}{{ end -}}
{{- with include "causeway.network" . }}{{ $_ := set $config "network" . }}{{ end -}}
{{- with .Values.locality }}{{ $_ := set $config "locality" . }}{{ end -}}
{{- with .Values.regions }}{{ $_ := set $config "regions" . }}{{ end -}}
{{- range $section, $keys := $known -}}
{{- $given := dict -}}
{{- range $key := $keys -}}
{{- $value := get (get $.Values $section | default dict) $key -}}
{{- /* `on` and `off` are truth values in a values file. */ -}}
{{- if and (has $key (list "active" "successes")) (kindIs "bool" $value) }}{{ $value = ternary "on" "off" $value }}{{ end -}}
{{- if not (or (kindIs "invalid" $value) (and (kindIs "string" $value) (eq $value ""))) -}}
{{- $_ := set $given $key $value -}}
{{- end -}}
{{- end -}}
{{- if $given }}{{ $_ := set $config $section $given }}{{ end -}}
{{- end -}}
{{- $config = mustMergeOverwrite $config (deepCopy .Values.config) -}}
{{- $drain := pick (include "causeway.drain" . | fromJson) "announce" "window" -}}
{{- $_ := set $config "drain" (mustMergeOverwrite (get $config "drain" | default dict) $drain) -}}
{{- toYaml $config -}}
{{- end -}}

{{/*
How the gateway ends, as JSON {announce, window, grace, fits}: the Pod's grace period holds both and 5 s for what comes
after, and what preStop sleeps, as Kubernetes counts that too. Where a grace period is given, the two shrink to fit; at most
half of what it leaves goes into the announcement.
*/}}
{{- define "causeway.drain" -}}
{{- $drain := mustMergeOverwrite (dict "announce" "5s" "window" "20s") (include "causeway.drainGiven" .Values.drain | fromJson) -}}
{{- $drain = mustMergeOverwrite $drain (include "causeway.drainGiven" .Values.config.drain | fromJson) -}}
{{- $announce := include "causeway.millis" (dict "path" "drain.announce" "text" $drain.announce) | int64 -}}
{{- $window := include "causeway.millis" (dict "path" "drain.window" "text" $drain.window) | int64 -}}
{{- $before := include "causeway.preStopSeconds" . | int64 -}}
{{- $grace := add (div (add $announce $window 5999) 1000) $before -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- $fits := true -}}
{{- if not (kindIs "invalid" $given) -}}
{{- $grace = int64 $given -}}
{{- $left := max 0 (sub $grace $before) -}}
{{- $room := max 2 (sub (mul $left 1000) 5000) (mul $left 500) -}}
{{- if gt (add $announce $window) $room -}}
{{- $fits = false -}}
{{- $announce = min $announce (div $room 2) -}}
{{- $window = sub $room $announce -}}
{{- end -}}
{{- end -}}
{{- $texts := dict "grace" $grace "fits" $fits -}}
{{- range $key, $millis := dict "announce" $announce "window" $window -}}
{{- $whole := eq 0 (int (mod $millis 1000)) -}}
{{- $_ := set $texts $key (ternary (printf "%ds" (div $millis 1000)) (printf "%dms" $millis) $whole) -}}
{{- end -}}
{{- toJson $texts -}}
{{- end -}}

{{/* What of a section `drain` is said, as JSON. */}}
{{- define "causeway.drainGiven" -}}
{{- $said := dict -}}
{{- range $key := list "announce" "window" -}}
{{- with get ($ | default dict) $key }}{{ $_ := set $said $key . }}{{ end -}}
{{- end -}}
{{- toJson $said -}}
{{- end -}}

{{/* How long preStop sleeps before the gateway hears of its end. */}}
{{- define "causeway.preStopSeconds" -}}
{{- $preStop := get .Values.lifecycle "preStop" | default dict -}}
{{- get (get $preStop "sleep" | default dict) "seconds" | default 0 | int64 -}}
{{- end -}}

{{/* A duration in milliseconds. The schema holds its form, except under `config`. */}}
{{- define "causeway.millis" -}}
{{- $text := toString .text -}}
{{- if not (regexMatch "^[0-9]+(ms|s|m|h)$" $text) -}}
{{- fail (printf "config.%s: %s is no duration: a number and its unit, like 250ms, 10s, 5m or 1h" .path $text) -}}
{{- end -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 -}}
{{- mul (regexFind "^[0-9]+" $text | int64) (get $units (regexFind "[a-z]+$" $text)) -}}
{{- end -}}

{{/* Where the gateway has its knowledge from, as JSON. */}}
{{- define "causeway.source" -}}
{{- if eq .Values.source.kind "xds" -}}
{{- $istiod := printf "istiod.%s.svc:15012" (.Values.discovery.istioNamespace | default "istio-system") -}}
{{- $given := deepCopy (.Values.source.xds | default dict) -}}
{{- dict "xds" (mustMerge $given (dict "address" $istiod)) | toJson -}}
{{- else -}}
{{- dict "kubernetes" (dict "snapshot" (ternary "/var/lib/causeway" "" .Values.snapshot.enabled)) | toJson -}}
{{- end -}}
{{- end -}}

{{/* The xDS server, as JSON; {} without one. */}}
{{- define "causeway.xds" -}}
{{- $xds := dict -}}
{{- if .Values.xds.enabled -}}
{{- $_ := set $xds "address" (printf "%s:18000" (include "causeway.any" .)) -}}
{{- if and .Values.xds.tlsSecret .Values.xds.plaintext -}}
{{- fail "xds: tlsSecret and plaintext exclude each other: take one of them away" -}}
{{- else if .Values.xds.tlsSecret -}}
{{- $folder := "/var/run/secrets/causeway-xds" -}}
{{- $_ := set $xds "tls" (dict "certificate" (printf "%s/tls.crt" $folder) "key" (printf "%s/tls.key" $folder) "clientCa" (printf "%s/ca.crt" $folder)) -}}
{{- else if .Values.xds.plaintext -}}
{{- $_ := set $xds "plaintext" true -}}
{{- else -}}
{{- fail "xds.tlsSecret: name a Secret with tls.crt, tls.key and ca.crt, or say xds.plaintext=true: then everybody who reaches port 18000 is told every service" -}}
{{- end -}}
{{- $mesh := dict -}}
{{- range $key, $value := .Values.xds.meshTls -}}
{{- /* `off` is a truth value in a values file. */ -}}
{{- if kindIs "bool" $value }}{{ $value = "off" }}{{ end -}}
{{- if $value }}{{ $_ := set $mesh $key $value }}{{ end -}}
{{- end -}}
{{- with $mesh }}{{ $_ := set $xds "meshTls" . }}{{ end -}}
{{- end -}}
{{- toJson $xds -}}
{{- end -}}
