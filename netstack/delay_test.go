package netstack

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// outgoing is a packet that the stack hands over, after some time.
type outgoing struct {
	after time.Duration
	flow  int // its destination is the n-th
	flags header.TCPFlags
	ack   uint32
	data  int
	sack  bool // in the place of the timestamp
}

func (o outgoing) send(t *testing.T, e *endpoint, v6 bool) {
	t.Helper()
	src, dst := left4, netip.AddrFrom4([4]byte{10, 1, 0, byte(o.flow)})
	if v6 {
		src, dst = left6, netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(o.flow)})
	}
	var views [][]byte
	if o.data > 0 {
		views = append(views, make([]byte, o.data))
	}
	pkt := burst(src, dst, o.flags|header.TCPFlagAck, 1400, true, views...)
	defer pkt.DecRef()
	tcp := header.TCP(pkt.TransportHeader().Slice())
	tcp.SetAckNumber(o.ack)
	if o.sack {
		tcp[header.TCPMinimumSize+2] = header.TCPOptionSACK
	}
	if err := e.write(pkt); err != nil {
		t.Fatal(err)
	}
}

// TestDelay: what is sent of what the stack hands over, and when. Numbers are
// those acknowledged, with "+n" for n bytes of data and "f" for a flag.
func TestDelay(t *testing.T) {
	const ms = time.Millisecond
	request := func(ack uint32) outgoing { return outgoing{ack: ack, data: 50} }
	ack := func(number uint32) outgoing { return outgoing{ack: number} }
	later := func(d time.Duration, o outgoing) outgoing { o.after = d; return o }
	for _, c := range []struct {
		name string
		out  []outgoing
		want []string
	}{
		{"the next request has it", []outgoing{request(1), ack(101), later(9*ms, request(101)), ack(201), request(201)}, []string{
			"0s 1+50", "9ms 101+50", "9ms 201+50",
		}},
		{"no request follows", []outgoing{request(1), ack(101)}, []string{"0s 1+50", "10ms 101"}},
		{"one in a row", []outgoing{request(1), ack(101), ack(201), ack(301)}, []string{"0s 1+50", "0s 201", "0s 301"}},
		{"one in a row, over time", []outgoing{request(1), ack(101), later(20*ms, ack(201))}, []string{"0s 1+50", "10ms 101", "20ms 201"}},
		{"nobody has spoken", []outgoing{ack(101), ack(201)}, []string{"0s 101", "0s 201"}},
		{"a full segment", []outgoing{request(1), ack(601)}, []string{"0s 1+50", "0s 601"}},
		{"around the end of numbers", []outgoing{request(0xffffffff), ack(100), request(100)}, []string{"0s 4294967295+50", "0s 100+50"}},
		{"a duplicate of what was said", []outgoing{request(101), ack(101), ack(101)}, []string{"0s 101+50", "0s 101", "0s 101"}},
		{"a duplicate of what waits", []outgoing{request(1), ack(101), ack(101)}, []string{"0s 1+50", "0s 101", "0s 101"}},
		{"an end of stream", []outgoing{request(1), ack(2)}, []string{"0s 1+50", "0s 2"}},
		{"our end of stream has it", []outgoing{request(1), ack(101), {flags: header.TCPFlagFin, ack: 101}}, []string{"0s 1+50", "0s 101f"}},
		{"a reset has it", []outgoing{request(1), ack(101), {flags: header.TCPFlagRst, ack: 101}}, []string{"0s 1+50", "0s 101f"}},
		{"congestion", []outgoing{request(1), {flags: header.TCPFlagEce, ack: 101}}, []string{"0s 1+50", "0s 101f"}},
		{"a gap", []outgoing{request(1), {ack: 101, sack: true}}, []string{"0s 1+50", "0s 101"}},
		{"two flows", []outgoing{request(1), {flow: 1, ack: 7, data: 9}, ack(101), {flow: 1, ack: 107}, later(ms, request(101))}, []string{
			"0s 1+50", "0s 7+9", "1ms 101+50", "10ms 107",
		}},
		{"late ones, each in its time", []outgoing{request(1), {flow: 1, ack: 7, data: 9}, ack(101), later(4*ms, outgoing{flow: 1, ack: 107})}, []string{
			"0s 1+50", "0s 7+9", "10ms 101", "14ms 107",
		}},
	} {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, IPv6 %t", c.name, v6), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := &recorder{}
					e := newEndpoint(r)
					begin := time.Now()
					var got []string
					collect := func() {
						synctest.Wait()
						for _, p := range r.take() {
							tcp, err := segment([]byte(p.bytes))
							if err != nil {
								t.Fatal(err)
							}
							text := fmt.Sprintf("%v %d", time.Since(begin), tcp.AckNumber())
							if n := len(tcp.Payload()); n > 0 {
								text += fmt.Sprintf("+%d", n)
							}
							if tcp.Flags() != header.TCPFlagAck {
								text += "f"
							}
							got = append(got, text)
						}
					}
					pass := func(d time.Duration) {
						for end := time.Now().Add(d); time.Now().Before(end); collect() {
							time.Sleep(ms)
						}
					}
					for _, o := range c.out {
						pass(o.after)
						o.send(t, e, v6)
						collect()
					}
					pass(100 * ms)
					if !slices.Equal(got, c.want) {
						t.Errorf("sent %q, want %q", got, c.want)
					}
				})
			})
		}
	}
}

// TestDelayPlaces: flows that share a place take it from each other, and
// nothing is lost.
func TestDelayPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		e := newEndpoint(r)
		const flows = 250
		for i := range flows {
			outgoing{flow: i, ack: 1, data: 9}.send(t, e, false)
			outgoing{flow: i, ack: 101}.send(t, e, false)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		acks, packets := 0, r.take()
		for _, p := range packets {
			if tcp, err := segment([]byte(p.bytes)); err != nil {
				t.Fatal(err)
			} else if len(tcp.Payload()) == 0 {
				acks++
			}
		}
		if len(packets) != 2*flows || acks != flows {
			t.Errorf("%d packets, %d of them acknowledgements alone, want %d and %d", len(packets), acks, 2*flows, flows)
		}
	})
}
