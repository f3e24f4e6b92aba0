// Command reference is what package bench holds Wimble against: wireguard-go, either with its own stack in user space
// (netTun: one packet at a time, go-socks5 in front, io.Copy between, the data path of today's userspace proxies) or
// with a TUN device of the kernel, which needs root.
//
// The configuration is a wg-quick file, as Wimble takes it. It prints a line when the device is up.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/things-go/go-socks5"
	"github.com/things-go/go-socks5/bufferpool"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"golang.zx2c4.com/wireguard/tun/netstack"

	"github.com/wimble-proxy/wimble/config"
	"github.com/wimble-proxy/wimble/integration/bench/service"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("reference", flag.ContinueOnError)
	tunName := flags.String("tun", "", "make a TUN device of this `name`, which needs root; its addresses and routes are the caller's business")
	proxy := flags.String("proxy", "", "listen for SOCKS5 on this `address` and connect by the stack in user space")
	serve := flags.Int("serve", 0, "serve the bench's services on the stack in user space, from this `port` on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("give one wg-quick file")
	}
	c, _, err := config.ReadWireGuard(flags.Arg(0))
	if err != nil {
		return err
	}
	if *tunName != "" {
		return runKernelTun(ctx, c, *tunName)
	}
	return runNetTun(ctx, c, *proxy, *serve)
}

func ready() { fmt.Println("ready") }

// runKernelTun runs with a TUN device of the kernel until ctx ends.
func runKernelTun(ctx context.Context, c config.Tunnel, name string) error {
	t, err := tun.CreateTUN(name, cmp.Or(c.MTU, device.DefaultMTU))
	if err != nil {
		return err
	}
	d, err := bringUp(t, c)
	if err != nil {
		return err
	}
	defer d.Close()
	ready()
	<-ctx.Done()
	return nil
}

// runNetTun runs with the stack in user space until ctx ends, as a proxy if it is given an address and as the far end
// if it is given a port.
func runNetTun(ctx context.Context, c config.Tunnel, proxy string, port int) error {
	var addrs []netip.Addr
	for _, a := range c.Addresses {
		addrs = append(addrs, a.Addr())
	}
	t, stack, err := netstack.CreateNetTUN(addrs, nil, cmp.Or(c.MTU, device.DefaultMTU))
	if err != nil {
		return err
	}
	if _, err := bringUp(t, c); err != nil {
		return err
	}
	if port != 0 {
		listen := func(port int) (net.Listener, error) { return stack.ListenTCP(&net.TCPAddr{Port: port}) }
		return service.Serve(ctx, listen, port, ready)
	}
	ln, err := net.Listen("tcp", proxy)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	ready()
	server := socks5.NewServer(socks5.WithDial(stack.DialContext), socks5.WithBufferPool(bufferpool.NewPool(256<<10)))
	if err := server.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// bringUp starts wireguard-go. A stack's device is never closed: Close closes a channel that the stack may be sending
// on, and panics; the process ends instead.
func bringUp(t tun.Device, c config.Tunnel) (*device.Device, error) {
	d := device.NewDevice(t, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, "reference: "))
	if err := d.IpcSet(uapi(c)); err != nil {
		return nil, err
	}
	return d, d.Up()
}
