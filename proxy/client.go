package proxy

import (
	"bufio"
	"bytes"
	"container/list"
	"context"
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
	leash  *leash        // what the reader reads through
	reader *bufio.Reader // the only way to read until the relay begins

	serving context.Context // when it ends, there is no further request to be taken
	target  string          // for the log, once it is known
	asked   bool            // all that it has to say for an answer was read, so it may end its stream and wait

	// The gate's mutex guards these.
	place    *list.Element // nil unless in the handshake
	admitted bool
}

func newClient(serving context.Context, conn net.Conn) *client {
	l := &leash{conn: conn}
	return &client{Conn: conn, leash: l, reader: bufio.NewReader(l), serving: serving}
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
// wait for: it left. One that has asked, or whose early data has been read, gets its answer; nor can it be watched when
// that data fills the reader. The dial's deadline is left for these.
func (c *client) watch(gone func()) (stop func()) {
	return c.aside(gone, func() {
		err := c.ended()
		if err == io.EOF && (c.asked || c.reader.Buffered() > 0) {
			return
		}
		if err != nil {
			gone()
		}
	})
}

// aside calls read in a goroutine of its own, which has the client's reader until stop was called and has returned. Stop
// makes reads fail; when it returns no read deadline is set. A panic of read is passed on by stop, and makes failed be
// called before that.
func (c *client) aside(failed, read func()) (stop func()) {
	c.leash.free()
	done := make(chan struct{})
	var panicked error
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				panicked = fmt.Errorf("%v\n\n%s", v, debug.Stack())
				failed()
			}
		}()
		read()
	}()
	return func() {
		c.leash.stop()
		<-done
		c.leash.free()
		if panicked != nil {
			panic(panicked)
		}
	}
}

// ended reads ahead until the client's stream ends, and returns io.EOF or what broke it off. It returns nil if the leash
// or a full reader ended that before.
func (c *client) ended() error {
	for {
		_, err := c.reader.Peek(c.reader.Buffered() + 1)
		switch {
		case err == nil:
			continue
		case errors.Is(err, bufio.ErrBufferFull), isTimeout(err):
			return nil
		}
		return err
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
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
