{{/* Names and labels. Maps are given as JSON, so that a key stands there once however many places it comes from. */}}

{{- define "causeway.name" -}}
{{- .Values.name | default .Release.Name -}}
{{- end -}}

{{/* The name of objects that may not meet those of a release in another namespace, whose name has no dot. */}}
{{- define "causeway.longName" -}}
{{- printf "%s.%s" (include "causeway.name" .) .Release.Namespace -}}
{{- end -}}

{{- define "causeway.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "causeway.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* The cluster, where it is said, from either of the two places where that may be. */}}
{{- define "causeway.cluster" -}}
{{- .Values.cluster.name | default (dig "multiCluster" "clusterName" "" (.Values.global | default dict)) | default "" -}}
{{- end -}}

{{/* The network, from either of the two places where Istio's users name it. */}}
{{- define "causeway.network" -}}
{{- .Values.networkGateway | default (get (.Values.labels | default dict) "topology.istio.io/network") | default "" -}}
{{- end -}}

{{/* The label by which others find a gateway of the network; {} without one. */}}
{{- define "causeway.networkLabel" -}}
{{- $labels := dict -}}
{{- with include "causeway.network" . -}}
{{- $_ := set $labels (ternary "topology.istio.io/network" "causeway.io/network" $.Values.istio.discoverable) . -}}
{{- end -}}
{{- toJson $labels -}}
{{- end -}}

{{/* The labels by which the workload finds its Pods. They cannot change while it exists. */}}
{{- define "causeway.selector" -}}
{{- $name := include "causeway.name" . -}}
{{- $given := include "causeway.texts" .Values.labels | fromJson -}}
{{- $selector := dict "app" $name "istio" (trimPrefix "istio-" $name) -}}
{{- $selector = mustMergeOverwrite $selector (pick $given "app" "istio") -}}
{{- mustMergeOverwrite $selector (include "causeway.texts" .Values.selectorLabels | fromJson) | toJson -}}
{{- end -}}

{{/* The labels of everything. The network's stands only where it means something, and nothing is to be injected. */}}
{{- define "causeway.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" (include "causeway.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "causeway"
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- $given := include "causeway.texts" .Values.labels | fromJson -}}
{{- $given = omit $given "topology.istio.io/network" "causeway.io/network" "sidecar.istio.io/inject" -}}
{{- $labels = mustMergeOverwrite $labels $given -}}
{{- mustMergeOverwrite $labels (include "causeway.selector" . | fromJson) | toJson -}}
{{- end -}}

{{/* Name, namespace, labels and annotations of an object that is named like the release, with a suffix. */}}
{{- define "causeway.metadata" -}}
{{- $root := .root -}}
name: {{ include "causeway.name" $root }}{{ .suffix }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "causeway.labels" $root | fromJson | toYaml | nindent 2 }}
{{- with include "causeway.texts" $root.Values.annotations | fromJson }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
