package proxy

import (
	"bufio"
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"time"

	"github.com/wimble-proxy/wimble/forward"
)

// lingerTimeout is how long a refused client's data is read and dropped, so that the refusal reaches it.
const lingerTimeout = 5 * time.Second

// client is an accepted connection, and what was read ahead from it. One goroutine has it at a time.
type client struct {
	net.Conn
	reader *bufio.Reader // the only way to read until the relay begins
	target string        // for the log, once it is known

	// The gate's mutex guards these.
	place    *list.Element // nil unless in the handshake
	admitted bool
}

func newClient(conn net.Conn) *client {
	return &client{Conn: conn, reader: bufio.NewReader(conn)}
}

// takeEarly returns what was read ahead, and lets go of the reader, which would stay for as long as the relay.
func (c *client) takeEarly() []byte {
	early, _ := c.reader.Peek(c.reader.Buffered()) // can't fail: it is there
	c.reader = nil
	return bytes.Clone(early)
}

// watch calls gone if the client leaves. It reads ahead for that, until stop is called; that returns when nobody reads any
// more and no read deadline is set, and passes on a panic of the connection.
//
// A client that closes and one that only ends its stream look the same. One that has said nothing yet has nothing to
// wait for: it left. One whose early data has been read gets its answer; nor can it be watched when that data fills the
// reader. The dial's deadline is left for these.
func (c *client) watch(gone func()) (stop func()) {
	_ = c.SetReadDeadline(time.Time{})
	done := make(chan struct{})
	var panicked error
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				panicked = fmt.Errorf("%v\n\n%s", v, debug.Stack())
				gone()
			}
		}()
		if c.leaves() {
			gone()
		}
	}()
	return func() {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		<-done
		_ = c.SetReadDeadline(time.Time{})
		if panicked != nil {
			panic(panicked)
		}
	}
}

// leaves blocks until it is known whether the client is gone.
func (c *client) leaves() bool {
	for {
		_, err := c.reader.Peek(c.reader.Buffered() + 1)
		var timeout net.Error
		switch {
		case err == nil:
			continue
		case err == io.EOF:
			return c.reader.Buffered() == 0
		case errors.Is(err, bufio.ErrBufferFull), errors.As(err, &timeout) && timeout.Timeout():
			return false
		}
		return true
	}
}

// linger ends the stream to the client, then reads and drops what the client still sends. A connection that is closed
// with data unread is reset, and the last reply may be lost by that.
func (c *client) linger() {
	if forward.CloseWrite(c.Conn) != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTimeout))
	_, _ = io.Copy(io.Discard, c.reader)
}
