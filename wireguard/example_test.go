package wireguard_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/netip"
	"sync"

	"github.com/wimble-proxy/wimble/wireguard"
	"github.com/wimble-proxy/wimble/wireguard/engine"
	"github.com/wimble-proxy/wimble/wireguard/key"
)

// Two devices that carry IP packets of the program's own: the smallest IPv4
// packet there is goes from one to the other.
func Example() {
	near, far := newKey(), newKey()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()

	arrived := make(chan string, 1)
	b := start(ctx, &running, wireguard.Config{
		PrivateKey: far,
		Peers: []wireguard.PeerChange{{PeerChange: engine.PeerChange{
			PublicKey: near.Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")},
		}}},
		Deliver: func(packets [][]byte) { arrived <- fmt.Sprintf("%x", packets[0]) },
	})
	endpoint := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), b.ListenPort())
	a := start(ctx, &running, wireguard.Config{
		PrivateKey: near,
		Peers: []wireguard.PeerChange{{PeerChange: engine.PeerChange{
			PublicKey: far.Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")},
			Endpoint: &endpoint, // a host name goes into EndpointName
		}}},
		Deliver: func([][]byte) {},
	})

	packet := []byte{0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	route, err := a.Route(netip.MustParseAddr("10.0.0.2"))
	if err != nil {
		log.Fatal(err)
	}
	batch := a.NewBatch(route, len(packet))
	copy(batch.Add(len(packet)), packet)
	a.Send(batch)
	fmt.Println(<-arrived)
	// Output: 4500001400000000403b00000a0000010a000002
}

func newKey() key.Private {
	k, err := key.NewPrivate(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return k
}

func start(ctx context.Context, running *sync.WaitGroup, c wireguard.Config) *wireguard.Device {
	d, err := wireguard.New(c)
	if err != nil {
		log.Fatal(err)
	}
	running.Go(func() {
		if err := d.Run(ctx); err != nil {
			log.Print(err)
		}
	})
	<-d.Ready()
	return d
}
