package forward

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"
)

// watchDelay is how long a dial goes unwatched: most are over before, and save a goroutine and its wake-ups.
const watchDelay = 200 * time.Millisecond

// ahead reads what a client says while its target is not there yet, in a goroutine that ends with stop: nothing else
// shows that a client is gone. It reads no more than fits.
type ahead struct {
	conn  net.Conn
	start *time.Timer
	done  chan struct{}

	// These are the goroutine's until done is closed.
	data     []byte
	lost     error // what broke the client's stream off
	panicked error
}

// readAhead starts to read, after watchDelay. It calls gone when the client's stream breaks off; one that only ends may be
// that of a client that waits for an answer.
func readAhead(c net.Conn, gone func()) *ahead {
	a := &ahead{conn: c, done: make(chan struct{})}
	a.start = time.AfterFunc(watchDelay, func() {
		defer close(a.done)
		defer func() {
			if v := recover(); v != nil {
				a.panicked = fmt.Errorf("%v\n\n%s", v, debug.Stack())
				gone()
			}
		}()
		if a.lost = a.read(); a.lost != nil {
			gone()
		}
	})
	return a
}

func (a *ahead) read() error {
	data := make([]byte, smallSize)
	for n := 0; n < len(data); {
		m, err := a.conn.Read(data[n:])
		n += m
		a.data = data[:n]
		switch {
		case err == io.EOF, errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// stop ends the reading and returns what was read, and what broke the stream off. It passes on a panic of the connection.
func (a *ahead) stop() ([]byte, error) {
	if a.start.Stop() {
		return nil, nil // it did not begin
	}
	_ = a.conn.SetReadDeadline(time.Unix(1, 0))
	<-a.done
	_ = a.conn.SetReadDeadline(time.Time{})
	if a.panicked != nil {
		panic(a.panicked)
	}
	return a.data, a.lost
}
