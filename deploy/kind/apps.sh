#!/usr/bin/env bash
# Deploys `hello`, which says where it runs, and `sleep`, from which it is asked, into each cluster. It needs kubectl.
. "$(dirname "$0")/lib.sh"
need kubectl

for region in "${regions[@]}"; do
  say "hello and sleep in $region"
  on "$region" label namespace default istio-injection=enabled --overwrite
  on "$region" --namespace default apply -f - <<END
apiVersion: v1
kind: ConfigMap
metadata: {name: region}
data: {name: $region}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
        - name: hello
          image: stefanprodan/podinfo
          ports: [{containerPort: 9898}]
          env:
            - name: REGION
              valueFrom: {configMapKeyRef: {name: region, key: name}}
          readinessProbe: {httpGet: {path: /readyz, port: 9898}}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: hello}
  ports: [{port: 5000, targetPort: 9898}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleep}
spec:
  selector: {matchLabels: {app: sleep}}
  template:
    metadata: {labels: {app: sleep}}
    spec:
      containers:
        - name: sleep
          image: curlimages/curl
          command: [sleep, infinity]
END
done
