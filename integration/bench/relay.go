package main

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// relay carries the datagrams of one client to a target and back. What a path leaves to chance is of the seed.
type relay struct {
	Front, Target netip.AddrPort
	Path          path
	Seed          uint64
}

const (
	relayBatch    = 64
	largest       = 2 << 10 // bytes of a datagram; a tunnel with an MTU of 1420 sends 1452 at most
	relayBacklog  = 1 << 10 // batches between two goroutines; beyond, the reader waits and the kernel drops
	tooLateToWait = time.Hour
)

// run carries until ctx ends.
func (r relay) run(ctx context.Context, ready func()) error {
	front, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(r.Front))
	if err != nil {
		return err
	}
	back, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return errors.Join(err, front.Close())
	}
	context.AfterFunc(ctx, func() {
		front.Close()
		back.Close()
	})
	var client, target atomic.Pointer[net.UDPAddr]
	target.Store(net.UDPAddrFromAddrPort(r.Target))
	var tasks sync.WaitGroup
	for i, way := range []struct {
		from, out *net.UDPConn
		seen, to  *atomic.Pointer[net.UDPAddr]
	}{{front, back, &client, &target}, {back, front, nil, &client}} {
		widen(way.from)
		in := make(chan []parcel, relayBacklog)
		tasks.Go(func() {
			defer close(in)
			newLane(r.Path, r.Seed+uint64(i)).receive(ipv4.NewPacketConn(way.from), way.seen, in)
		})
		tasks.Go(func() { forward(ipv4.NewPacketConn(way.out), way.to, in) })
	}
	ready()
	tasks.Wait()
	return nil
}

// parcel is a datagram on the way.
type parcel struct {
	due   time.Time
	order uint64 // of arrival, for those that are due at once
	b     []byte
}

// lane is one direction.
type lane struct {
	path
	random *rand.Rand
	free   time.Time // when the bottleneck has sent all that it was given
	order  uint64
}

func newLane(p path, seed uint64) *lane {
	return &lane{path: p, random: rand.New(rand.NewPCG(seed, 0))}
}

// receive takes datagrams until the socket is closed, and passes on those that are not lost.
func (l *lane) receive(c *ipv4.PacketConn, seen *atomic.Pointer[net.UDPAddr], out chan<- []parcel) {
	messages := newMessages()
	for {
		n, err := c.ReadBatch(messages, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		now := time.Now()
		var parcels []parcel
		for _, m := range messages[:max(n, 0)] {
			if seen != nil {
				seen.Store(m.Addr.(*net.UDPAddr))
			}
			if due, arrives := l.admit(now, m.N); arrives {
				l.order++
				parcels = append(parcels, parcel{due, l.order, append([]byte(nil), m.Buffers[0][:m.N]...)})
			}
		}
		if len(parcels) > 0 {
			out <- parcels
		}
	}
}

// admit says when a datagram of a size that comes now arrives, if it does.
func (l *lane) admit(now time.Time, size int) (due time.Time, arrives bool) {
	lost, late := l.random.Float64() < l.Loss, l.random.Float64() < l.Late
	due = now
	if l.Rate > 0 {
		if l.free.Before(now) {
			l.free = now
		}
		end := l.free.Add(time.Duration(float64(size) * 8 / l.Rate * float64(time.Second)))
		if end.Sub(now) > l.Queue {
			return due, false
		}
		l.free, due = end, end
	}
	due = due.Add(l.Delay)
	if late {
		due = due.Add(l.LateBy)
	}
	return due, !lost
}

// forward sends each datagram when it is due, until there are no more.
func forward(c *ipv4.PacketConn, to *atomic.Pointer[net.UDPAddr], in <-chan []parcel) {
	var waiting parcels
	messages := newMessages()
	timer := time.NewTimer(tooLateToWait)
	defer timer.Stop()
	for {
		n := 0
		for now := time.Now(); n < relayBatch && len(waiting) > 0 && !waiting[0].due.After(now); n++ {
			messages[n].Buffers[0] = heap.Pop(&waiting).(parcel).b
			messages[n].Addr = to.Load()
		}
		if n > 0 {
			for sent := 0; sent < n; {
				k, err := c.WriteBatch(messages[sent:n], 0)
				if err != nil {
					break // closed, or nobody listens: lost
				}
				sent += k
			}
			continue
		}
		wait := tooLateToWait
		if len(waiting) > 0 {
			wait = time.Until(waiting[0].due)
		}
		timer.Reset(wait)
		select {
		case more, open := <-in:
			if !open {
				return
			}
			for _, p := range more {
				heap.Push(&waiting, p)
			}
		case <-timer.C:
		}
	}
}

func newMessages() []ipv4.Message {
	messages := make([]ipv4.Message, relayBatch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, largest)}
	}
	return messages
}

// parcels are a heap by what is due first.
type parcels []parcel

func (p parcels) Len() int      { return len(p) }
func (p parcels) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *parcels) Push(x any)   { *p = append(*p, x.(parcel)) }
func (p parcels) Less(i, j int) bool {
	if p[i].due.Equal(p[j].due) {
		return p[i].order < p[j].order
	}
	return p[i].due.Before(p[j].due)
}

func (p *parcels) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}
