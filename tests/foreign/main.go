// go-control-plane at the other end: its client for our xDS server, its server for our client. It must decide nothing that a
// story is about.
//
//	foreign client ADDRESS TYPE [REFUSED]   the state-of-the-world client; refuses each response that names REFUSED
//	foreign delta ADDRESS TYPE NAME...      the generated delta stub, subscribed to these names
//	foreign server [ADDRESS]                the snapshot cache's server, there or on a free port, for every node alike
//
// A client writes a line of JSON for each response. The server first writes {"address": ...}; each line on its standard input
// is a version and a folder, whose files are whole DiscoveryResponses: from then on they are what it serves.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	client "github.com/envoyproxy/go-control-plane/pkg/client/sotw/v3"
	server "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// What a client has got.
type got struct {
	Names   []string `json:"names"`
	Removed []string `json:"removed,omitempty"`
	// What protoc-gen-validate finds wrong in them.
	Invalid []string `json:"invalid,omitempty"`
}

func main() {
	run := map[string]func([]string) error{"client": sotw, "delta": delta, "server": serve}[os.Args[1]]
	if err := run(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func connect(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

func node() *core.Node {
	network := structpb.NewStringValue("n2")
	return &core.Node{
		Id:            "foreign",
		UserAgentName: "go-control-plane",
		Metadata:      &structpb.Struct{Fields: map[string]*structpb.Value{"NETWORK": network}},
		Locality:      &core.Locality{Region: "us-west", Zone: "a"},
	}
}

func sotw(arguments []string) error {
	connection, err := connect(arguments[0])
	if err != nil {
		return err
	}
	client := client.NewADSClient(context.Background(), node(), arguments[1])
	if err := client.InitConnect(connection); err != nil {
		return err
	}
	for {
		response, err := client.Fetch()
		if err != nil {
			return err
		}
		said, refused := got{}, false
		for _, resource := range response.Resources {
			name := said.add(resource)
			refused = refused || (len(arguments) > 2 && name == arguments[2])
		}
		say(said)
		if refused {
			err = client.Nack("the story refuses " + arguments[2])
		} else {
			err = client.Ack()
		}
		if err != nil {
			return err
		}
	}
}

func delta(arguments []string) error {
	connection, err := connect(arguments[0])
	if err != nil {
		return err
	}
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(context.Background())
	if err != nil {
		return err
	}
	request := &discovery.DeltaDiscoveryRequest{Node: node(), TypeUrl: arguments[1], ResourceNamesSubscribe: arguments[2:]}
	for {
		if err := stream.Send(request); err != nil {
			return err
		}
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		said := got{Removed: response.GetRemovedResources()}
		for _, resource := range response.GetResources() {
			said.add(resource.GetResource())
		}
		say(said)
		request = &discovery.DeltaDiscoveryRequest{TypeUrl: arguments[1], ResponseNonce: response.GetNonce()}
	}
}

// Notes a resource, and what is wrong with it.
func (g *got) add(any *anypb.Any) string {
	message, err := any.UnmarshalNew()
	if err != nil {
		g.Invalid = append(g.Invalid, err.Error())
		return ""
	}
	if checked, ok := message.(interface{ ValidateAll() error }); ok {
		if err := checked.ValidateAll(); err != nil {
			g.Invalid = append(g.Invalid, err.Error())
		}
	}
	name := cache.GetResourceName(message)
	g.Names = append(g.Names, name)
	return name
}

func serve(arguments []string) error {
	address := "127.0.0.1:0"
	if len(arguments) > 0 {
		address = arguments[0]
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	snapshots := cache.NewSnapshotCache(true, everybody{}, nil)
	service := grpc.NewServer()
	ads := server.NewServer(context.Background(), snapshots, nil)
	discovery.RegisterAggregatedDiscoveryServiceServer(service, ads)
	go service.Serve(listener)
	say(map[string]string{"address": listener.Addr().String()})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		version, folder, _ := strings.Cut(lines.Text(), " ")
		resources, err := read(folder)
		if err != nil {
			return err
		}
		snapshot, err := cache.NewSnapshot(version, resources)
		if err != nil {
			return err
		}
		if err := snapshots.SetSnapshot(context.Background(), "", snapshot); err != nil {
			return err
		}
		say(map[string]string{"version": version})
	}
	return lines.Err()
}

// Every node sees the same.
type everybody struct{}

func (everybody) ID(*core.Node) string { return "" }

// The resources of all responses in a folder, by type.
func read(folder string) (map[string][]types.Resource, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		return nil, err
	}
	resources := map[string][]types.Resource{}
	for _, file := range files {
		bytes, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var response discovery.DiscoveryResponse
		if err := proto.Unmarshal(bytes, &response); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, any := range response.GetResources() {
			message, err := any.UnmarshalNew()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			resources[response.GetTypeUrl()] = append(resources[response.GetTypeUrl()], message)
		}
	}
	return resources, nil
}

func say(what any) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
