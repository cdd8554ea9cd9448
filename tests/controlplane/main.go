// A Kubernetes API server with its etcd in one process, for tests: free ports, RBAC on, an administrator's kubeconfig on
// standard output once it is ready. It runs no controllers, and ends when its standard input does, so with its parent.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	data := flag.String("data", "", "folder for everything; what is in it from an earlier run is used again")
	address := flag.String("address", "127.0.0.1", "where the API server listens, and what its certificate names")
	port := flag.Int("port", 0, "the API server's port; 0 takes a free one")
	flag.Parse()
	if *data == "" {
		log.Fatal("-data is missing: name a folder")
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := run(*data, *address, *port); err != nil {
		log.Fatal(err)
	}
}

func run(data, address string, port int) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	etcd, err := startEtcd(filepath.Join(data, "etcd"))
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	if port == 0 {
		if port, err = freePort(address); err != nil {
			return err
		}
	}
	if err := ensureSecrets(data, address); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(data, "token"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(data, "ca.pem"))
	if err != nil {
		return err
	}
	server := "https://" + net.JoinHostPort(address, fmt.Sprint(port))
	go announce(server, ca, string(token))

	in := func(name string) string { return filepath.Join(data, name) }
	command := app.NewAPIServerCommand()
	command.SetArgs([]string{
		"--etcd-servers=" + etcd,
		"--bind-address=" + address,
		"--advertise-address=" + address,
		"--secure-port=" + fmt.Sprint(port),
		"--endpoint-reconciler-type=none",
		"--cert-dir=" + in("certs"),
		"--tls-cert-file=" + in("server.pem"),
		"--tls-private-key-file=" + in("server.key"),
		"--token-auth-file=" + in("tokens.csv"),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + in("accounts.key"),
		"--service-account-signing-key-file=" + in("accounts.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		// Nobody would create the accounts that it wants.
		"--disable-admission-plugins=ServiceAccount",
	})
	return command.Execute()
}

// startEtcd gives the address for clients.
func startEtcd(folder string) (string, error) {
	config := embed.NewConfig()
	config.Dir = folder
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	client, err := freeURL()
	if err != nil {
		return "", err
	}
	peer, err := freeURL()
	if err != nil {
		return "", err
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return "", err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return client.String(), nil
	case err := <-etcd.Err():
		return "", err
	case <-time.After(time.Minute):
		return "", fmt.Errorf("not ready after a minute")
	}
}

func freeURL() (*url.URL, error) {
	port, err := freePort("127.0.0.1")
	return &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}, err
}

func freePort(address string) (int, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// ensureSecrets makes keys, certificates and the administrator's token, unless an earlier run has.
func ensureSecrets(data, address string) error {
	write := func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(data, name), content, 0o600)
	}
	if _, err := os.Stat(filepath.Join(data, "tokens.csv")); err == nil {
		return nil
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test control plane"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		DNSNames:     []string{"localhost", "kubernetes.default.svc"},
		IPAddresses:  []net.IP{net.ParseIP(address), net.ParseIP("127.0.0.1")},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	accounts, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	secret := make([]byte, 16)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	token := hex.EncodeToString(secret)
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for name, content := range map[string][]byte{
		"ca.pem":       block("CERTIFICATE", caDER),
		"server.pem":   block("CERTIFICATE", leafDER),
		"server.key":   block("EC PRIVATE KEY", keyDER),
		"accounts.key": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(accounts)),
		"token":        []byte(token),
	} {
		if err := write(name, content); err != nil {
			return err
		}
	}
	return write("tokens.csv", []byte(token+`,admin,admin,"system:masters"`+"\n"))
}

// announce prints the kubeconfig once the server says that it is ready, and an empty line after it.
func announce(server string, ca []byte, token string) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout:   time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	for {
		request, _ := http.NewRequest(http.MethodGet, server+"/readyz", nil)
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := client.Do(request)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Printf(`apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster:
    server: %s
    certificate-authority-data: %s
contexts:
- name: test
  context: {cluster: test, user: admin}
users:
- name: admin
  user: {token: %s}

`, server, base64.StdEncoding.EncodeToString(ca), token)
}
