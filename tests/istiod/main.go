// Istio's own control plane for tests: pilot-discovery as Istio ships it, at one version. It decides nothing itself, and
// ends when its standard input does, so with its parent. With the argument crds it prints Istio's definitions of its kinds,
// as Istio's chart has them, instead.
package main

import (
	"io"
	"log"
	"os"

	"istio.io/istio/manifests"
	"istio.io/istio/pilot/cmd/pilot-discovery/app"
)

const definitions = "charts/base/files/crd-all.gen.yaml"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "crds" {
		yaml, err := manifests.FS.ReadFile(definitions)
		if err != nil {
			log.Fatal(err)
		}
		_, _ = os.Stdout.Write(yaml)
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := app.NewRootCommand().Execute(); err != nil {
		log.Fatal(err)
	}
}
