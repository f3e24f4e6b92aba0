package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// monitorLimit is how long qemu may take for an answer.
const monitorLimit = 20 * time.Second

// monitor talks to qemu itself (QEMU Machine Protocol).
type monitor struct {
	conn   *os.File
	mu     sync.Mutex    // one command at a time
	encode *json.Encoder // guarded by mu
	decode *json.Decoder // guarded by mu
}

func newMonitor(conn *os.File) *monitor {
	return &monitor{conn: conn, encode: json.NewEncoder(conn), decode: json.NewDecoder(conn)}
}

// request is a command to qemu.
type request struct {
	Execute   string            `json:"execute"`
	Arguments map[string]string `json:"arguments,omitempty"`
}

// greet starts the protocol.
func (m *monitor) greet() error {
	_, err := m.call(request{Execute: "qmp_capabilities"})
	return err
}

// command runs a command of qemu's monitor for people, whose errors are what
// it prints.
func (m *monitor) command(line string) (string, error) {
	answer, err := m.call(request{"human-monitor-command", map[string]string{"command-line": line}})
	if err != nil {
		return "", err
	}
	var text string
	err = json.Unmarshal(answer, &text)
	return text, err
}

func (m *monitor) call(r request) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.conn.SetDeadline(time.Now().Add(monitorLimit)); err != nil {
		return nil, err
	}
	if err := m.encode.Encode(r); err != nil {
		return nil, err
	}
	for {
		var message struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := m.decode.Decode(&message); err != nil {
			return nil, fmt.Errorf("qemu does not answer: %w", err)
		}
		switch {
		case message.Error != nil:
			return nil, errors.New("qemu: " + message.Error.Desc)
		case message.Return != nil:
			return message.Return, nil
		}
		// The greeting and events are neither.
	}
}

// forward opens a UDP port on 127.0.0.1 that leads to a port of the guest.
func (m *monitor) forward(guestPort uint16) (hostPort uint16, err error) {
	complaint, err := m.command(fmt.Sprintf("hostfwd_add net0 udp:127.0.0.1:0-%s:%d", guestAddress, guestPort))
	if err == nil && strings.TrimSpace(complaint) != "" {
		err = fmt.Errorf("qemu: %s", complaint)
	}
	if err != nil {
		return 0, err
	}
	table, err := m.command("info usernet")
	if err != nil {
		return 0, err
	}
	return parseForward(table, guestPort)
}

// unforward closes what forward opened.
func (m *monitor) unforward(hostPort uint16) error {
	_, err := m.command(fmt.Sprintf("hostfwd_remove net0 udp:127.0.0.1:%d", hostPort))
	return err
}

// parseForward finds the host's port in qemu's table of connections:
//
//	Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
//	UDP[HOST_FORWARD]  11       127.0.0.1 40619       10.0.2.15 51821     0     0
func parseForward(table string, guestPort uint16) (uint16, error) {
	want := strconv.Itoa(int(guestPort))
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 6 || f[0] != "UDP[HOST_FORWARD]" || f[4] != guestAddress || f[5] != want {
			continue
		}
		port, err := strconv.ParseUint(f[3], 10, 16)
		return uint16(port), err
	}
	return 0, fmt.Errorf("qemu shows no UDP port that leads to %s:%d:\n%s", guestAddress, guestPort, table)
}
