{{/*
What every template begins with: the values as the others read them, and the mistakes that stop an installation. It may be
called any number of times.

Istio's chart keeps its defaults under a key of their own, and takes what stands under `global` for a default too.
*/}}
{{- define "causeway.prepare" -}}
{{- with .Values._internal_defaults_do_not_set -}}
{{- $_ := mustMergeOverwrite $.Values (deepCopy .) -}}
{{- end -}}
{{- $_ := unset .Values "_internal_defaults_do_not_set" -}}
{{- include "causeway.withoutNull" . -}}
{{- $global := .Values.global | default dict -}}
{{- range $key := list "imagePullPolicy" "imagePullSecrets" "priorityClassName" "platform" -}}
{{- if and (get $global $key) (not (get $.Values $key)) -}}
{{- $_ := set $.Values $key (get $global $key) -}}
{{- end -}}
{{- end -}}
{{- range $path := list "labels" "selectorLabels" "annotations" "podAnnotations" "nodeSelector" "env" -}}
{{- include "causeway.onlyTexts" (dict "path" $path "map" (get $.Values $path)) -}}
{{- end -}}
{{- range $path := list "annotations" "selectorLabels" -}}
{{- include "causeway.onlyTexts" (dict "path" (printf "service.%s" $path) "map" (get $.Values.service $path)) -}}
{{- end -}}
{{- include "causeway.onlyTexts" (dict "path" "serviceAccount.annotations" "map" .Values.serviceAccount.annotations) -}}
{{- include "causeway.onlyTexts" (dict "path" "outbound.annotations" "map" .Values.outbound.annotations) -}}
{{- include "causeway.onlyTexts" (dict "path" "xds.annotations" "map" .Values.xds.annotations) -}}
{{- end -}}

{{/* What was taken away by null is there again, without anything in it; a switch without a position is off, kind and image
are what they are by default. */}}
{{- define "causeway.withoutNull" -}}
{{- $known := .Files.Get "known.yaml" | fromYaml -}}
{{- $maps := concat (keys $known.sections) (keys $known.gateway) (list "labels" "selectorLabels" "annotations" "podAnnotations" "nodeSelector" "env" "config" "lifecycle") -}}
{{- range $key := $maps -}}
{{- if not (kindIs "map" (get $.Values $key)) }}{{ $_ := set $.Values $key dict }}{{ end -}}
{{- end -}}
{{- range $section, $key := dict "autoscaling" "enabled" "snapshot" "enabled" "serviceAccount" "create" -}}
{{- $_ := set (get $.Values $section) $key (get (get $.Values $section) $key | empty | not) -}}
{{- end -}}
{{- if not (kindIs "bool" (get .Values.istio "discoverable")) }}{{ $_ := set .Values.istio "discoverable" true }}{{ end -}}
{{- if not (get .Values.service "type") }}{{ $_ := set .Values.service "type" "LoadBalancer" }}{{ end -}}
{{- if not (get .Values.outbound "ports") }}{{ $_ := set .Values.outbound "ports" (list 15444) }}{{ end -}}
{{- if not (get .Values.source "kind") }}{{ $_ := set .Values.source "kind" "kubernetes" }}{{ end -}}
{{- /* None is something else than nothing said. `--set discovery.secretNamespaces={}` makes a list of one empty text. */}}
{{- $namespaces := get .Values.discovery "secretNamespaces" -}}
{{- if not (kindIs "slice" $namespaces) }}{{ $namespaces = list "istio-system" }}{{ end -}}
{{- $_ := set .Values.discovery "secretNamespaces" (compact $namespaces) -}}
{{- $_ := set .Values "kind" (get .Values "kind" | default "Deployment") -}}
{{- end -}}

{{/*
Fails where a map stands in the place of a text: `--set labels.topology.istio.io/network=x` makes three levels of one name.
*/}}
{{- define "causeway.onlyTexts" -}}
{{- $path := .path -}}
{{- range $key, $value := (.map | default dict) -}}
{{- if kindIs "map" $value -}}
{{- $leaf := include "causeway.leaf" (dict "name" $key "value" $value) | fromJson -}}
{{- $name := $leaf.name | replace "." "\\." -}}
{{- fail (printf "%s: '%s' wants a text and got a map, because Helm takes a dot for a level. Put a backslash before each dot of the name:\n\n  --set '%s.%s=%s'\n\nIn Terraform: name = \"%s.%s\", value = \"%s\"" $path $leaf.name $path $name $leaf.value $path ($name | replace "\\" "\\\\") $leaf.value) -}}
{{- else if kindIs "slice" $value -}}
{{- fail (printf "%s: '%s' wants a text and got a list" $path $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name that was meant by nested maps, and its value. */}}
{{- define "causeway.leaf" -}}
{{- if and (kindIs "map" .value) .value -}}
{{- $key := keys .value | sortAlpha | first -}}
{{- include "causeway.leaf" (dict "name" (printf "%s.%s" .name $key) "value" (get .value $key)) -}}
{{- else -}}
{{- dict "name" .name "value" (ternary "VALUE" (toString .value) (kindIs "map" .value)) | toJson -}}
{{- end -}}
{{- end -}}

{{/*
A map of texts, as JSON: numbers and switches become texts, null leaves a key out. A whole number of a values file is a
floating one to Helm, which would write a large one as 3.3554432e+07.
*/}}
{{- define "causeway.texts" -}}
{{- $texts := dict -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- if and (kindIs "float64" $value) (eq $value (floor $value)) }}{{ $value = int64 $value }}{{ end -}}
{{- $_ := set $texts $key (toString $value) -}}
{{- end -}}
{{- end -}}
{{- toJson $texts -}}
{{- end -}}
