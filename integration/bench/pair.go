package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// client is a program at the near end.
type client string

const (
	ours      client = "wimble"
	netTun    client = "netTun"    // wireguard-go with a stack in user space
	kernelTun client = "kernelTun" // wireguard-go with a TUN device of the kernel; no proxy
	plain     client = "splice"    // a proxy without a tunnel
)

// far is a program at the far end.
type far string

const (
	farOurs   far = "ours"
	farSingly far = "ours, sending single datagrams"
	farNetTun far = "netTun"
	farKernel far = "kernelTun"
)

// setting is what a client is started in.
type setting struct {
	far       far
	path      *path // of the datagrams, nil for none but the veth pair or loopback
	idlePeers int   // beside the one that is used
	listeners int   // of ours, 0 for one: each takes 4,096 connections
	profile   string
}

// pair is a client with its far end and what is between them.
type pair struct {
	client *process
	others []*process
	via    []netip.AddrPort // where its proxy listens; none for a network interface
	target netip.AddrPort   // the services, as the client is asked for them
	// first is the time from the client's start to the first byte that came back through it.
	first time.Duration
	// size is the client's program, in bytes.
	size int64
}

// open starts a pair and waits until it carries a request.
func (l *lab) open(ctx context.Context, c client, s setting) (_ *pair, err error) {
	p := new(pair)
	defer func() {
		if err != nil {
			err = fmt.Errorf("client %s, far end %s: %w", c, s.far, err)
			p.close()
		}
	}()
	if c == plain {
		p.target = netip.AddrPortFrom(l.far.address, l.services)
		return p, l.openClient(ctx, p, c, s, nil)
	}
	port, err := l.freePort()
	if err != nil {
		return nil, err
	}
	outside := netip.AddrPortFrom(l.far.address, port)
	endpoint := outside
	if s.path != nil {
		relayPort, err := l.freePort()
		if err != nil {
			return nil, err
		}
		endpoint = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), relayPort)
	}
	t, err := l.newTunnel(endpoint, port, s.idlePeers)
	if err != nil {
		return nil, err
	}
	p.target = netip.AddrPortFrom(t.inside, l.services)
	if err := l.openFar(ctx, p, s.far, t); err != nil {
		return nil, err
	}
	if s.path != nil {
		r, err := json.Marshal(relay{Front: endpoint, Target: outside, Path: *s.path, Seed: uint64(t.number)})
		if err != nil {
			return nil, err
		}
		if err := p.add(startReady(ctx, l.near.namespace, l.own, "role", "relay", string(r))); err != nil {
			return nil, err
		}
	}
	return p, l.openClient(ctx, p, c, s, t)
}

// add keeps a process that was started.
func (p *pair) add(started *process, err error) error {
	if started != nil {
		p.others = append(p.others, started)
	}
	return err
}

func (l *lab) openFar(ctx context.Context, p *pair, f far, t *tunnel) error {
	port := fmt.Sprint(l.services)
	switch f {
	case farOurs:
		return p.add(startReady(ctx, l.far.namespace, l.own, "role", "far", port, t.farFile, sendsBursts))
	case farSingly:
		return p.add(startReady(ctx, l.far.namespace, l.own, "role", "far", port, t.farFile, sendsSingly))
	case farNetTun:
		return p.add(startReady(ctx, l.far.namespace, l.reference, "-serve", port, t.farFile))
	case farKernel:
		name := fmt.Sprintf("wg%d", t.number)
		if err := p.add(startReady(ctx, l.far.namespace, l.reference, "-tun", name, t.farFile)); err != nil {
			return err
		}
		return l.far.addDevice(ctx, name, t.inside, t.nearInside)
	default:
		return fmt.Errorf("there is no far end %q", f)
	}
}

// openClient starts the client and waits for its first byte.
func (l *lab) openClient(ctx context.Context, p *pair, c client, s setting, t *tunnel) error {
	listeners := 1
	switch {
	case c == kernelTun:
		listeners = 0
	case c == ours:
		listeners = max(1, s.listeners)
	}
	for range listeners {
		port, err := l.freePort()
		if err != nil {
			return err
		}
		p.via = append(p.via, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	}
	var argv []string
	switch c {
	case ours:
		argv = []string{l.wimble, "up", t.nearFile}
		for _, via := range p.via {
			argv = append(argv, "-D", via.String())
		}
	case netTun:
		argv = []string{l.reference, "-proxy", p.via[0].String(), t.nearFile}
	case kernelTun:
		argv = []string{l.reference, "-tun", fmt.Sprintf("wg%d", t.number), t.nearFile}
	case plain:
		argv = []string{l.own, "role", "splice", p.via[0].String()}
	default:
		return fmt.Errorf("there is no client %q", c)
	}
	info, err := os.Stat(argv[0])
	if err != nil {
		return err
	}
	p.size = info.Size()
	start := time.Now()
	if c == kernelTun {
		if p.client, err = startReady(ctx, l.near.namespace, argv...); err == nil {
			err = l.near.addDevice(ctx, argv[2], t.nearInside, t.inside)
		}
	} else {
		// Each has a folder of its own for its control socket: others must not find it.
		runDir := filepath.Join(l.dir, "run"+p.via[0].String())
		if err := os.MkdirAll(runDir, 0o700); err != nil {
			return err
		}
		env := []string{"XDG_RUNTIME_DIR=" + runDir, "WIMBLE_BENCH_PROFILE=" + s.profile}
		p.client, err = startProcess(l.near.namespace, env, nil, nil, argv...)
	}
	if err != nil {
		return err
	}
	return p.waitFirst(ctx, l, start)
}

// waitFirst asks until there is an answer.
func (p *pair) waitFirst(ctx context.Context, l *lab, start time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, err := l.do(ctx, work{Via: p.via, Target: p.target, PID: p.client.pid(), Short: 1})
		if err == nil {
			p.first = time.Since(start)
			return nil
		}
		select {
		case <-p.client.ended:
			return fmt.Errorf("it ended: %s", p.client.said)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("no answer through it: %s", p.client.said), err)
		case <-time.After(time.Millisecond):
		}
	}
}

// close ends the pair.
func (p *pair) close() {
	if p.client != nil {
		p.client.kill()
	}
	for _, o := range p.others {
		o.kill()
	}
}
