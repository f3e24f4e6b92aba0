package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/integration/bench/service"
	"github.com/wimble-proxy/wimble/netstack"
	"github.com/wimble-proxy/wimble/wireguard"
)

// runRole is one of the processes that the bench starts beside the clients.
func runRole(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	ready := func() { fmt.Fprintln(stdout, "ready") }
	switch role, args := args[0], args[1:]; role {
	case "load":
		return runLoad(ctx, stdin, stdout)
	case "serve": // PORT
		port, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		listen := func(port int) (net.Listener, error) { return net.Listen("tcp4", fmt.Sprintf(":%d", port)) }
		return service.Serve(ctx, listen, port, ready)
	case "far": // PORT FILE SENDS
		return runFar(ctx, args[0], args[1], args[2], ready)
	case "splice": // ADDRESS
		return runSplice(ctx, args[0], ready)
	case "relay": // JSON
		var r relay
		if err := json.Unmarshal([]byte(args[0]), &r); err != nil {
			return err
		}
		return r.run(ctx, ready)
	default:
		return fmt.Errorf("there is no role %q", role)
	}
}

// runFar is the far end "ours": the library, with the services on its stack. It sends bursts, or datagrams singly.
func runFar(ctx context.Context, port, file, sends string, ready func()) error {
	base, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	c, _, err := config.ReadWireGuard(file)
	if err != nil {
		return err
	}
	o := netstack.Options{}
	if sends == sendsSingly {
		o.ListenPacket = listenSingly
	}
	n, err := netstack.Open(ctx, c, o)
	if err != nil {
		return err
	}
	defer n.Close()
	listen := func(port int) (net.Listener, error) { return n.Listen(ctx, "tcp", fmt.Sprintf(":%d", port)) }
	return service.Serve(ctx, listen, base, ready)
}

const (
	sendsBursts = "bursts"
	sendsSingly = "singly"
)

// singly is a UDP socket that offers nothing but the methods of [wireguard.PacketConn], so that the Device sends and
// receives one datagram a call.
type singly struct{ wireguard.PacketConn }

func listenSingly(ctx context.Context, network, address string) (wireguard.PacketConn, error) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	udp := c.(*net.UDPConn)
	widen(udp)
	return singly{udp}, nil
}

// widen asks for large buffers. What the system gives has to do.
func widen(c *net.UDPConn) {
	_ = c.SetReadBuffer(4 << 20)
	_ = c.SetWriteBuffer(4 << 20)
}
