package forward

import "net"

// source is what a direction is read from.
type source interface {
	// next waits for data and returns some, in the hold's buffer or one of its own, until the next call. While it waits it
	// has no buffer from the pool. Data and an error may come together.
	next(*hold) ([]byte, error)
}

// hold is the buffer of a direction, as long as it has one.
type hold struct {
	pool  *pool
	limit int // the pool's
	large *[largeSize]byte
	small []byte // used when there is no large one to be had, made on first use
}

// take returns a large buffer, or a small one if all are in use.
func (h *hold) take() []byte {
	if h.large == nil {
		h.large = h.pool.take(h.limit)
	}
	if h.large == nil {
		return h.keep()
	}
	return h.large[:]
}

// keep returns the small buffer, which may be held while there is nothing to do.
func (h *hold) keep() []byte {
	if h.small == nil {
		h.small = make([]byte, smallSize)
	}
	return h.small
}

// give gives a large buffer back, if there is one.
func (h *hold) give() {
	if h.large != nil {
		h.pool.give(h.large)
		h.large = nil
	}
}

// writer is what a direction is written to.
type writer interface{ Write([]byte) (int, error) }

// ends returns how c is read from and written to.
func ends(c net.Conn) (source, writer) {
	if from, to, ok := socketEnds(c); ok {
		return from, to
	}
	if e, ok := c.(*early); ok {
		rest, to := ends(e.Conn)
		return &earlySource{e, rest}, to
	}
	if wait := waiter(c); wait != nil {
		return &waitingSource{c, wait}, c
	}
	return plainSource{c}, c
}

// plainSource can't tell when it is readable.
type plainSource struct{ net.Conn }

func (s plainSource) next(h *hold) ([]byte, error) {
	buf := h.keep()
	n, err := s.Read(buf)
	return buf[:n], err
}

// waitingSource can.
type waitingSource struct {
	net.Conn
	wait func() error
}

func (s *waitingSource) next(h *hold) ([]byte, error) {
	if err := s.wait(); err != nil {
		return nil, err
	}
	buf := h.take()
	n, err := s.Read(buf)
	return buf[:n], err
}

// earlySource begins with what was read ahead.
type earlySource struct {
	*early
	rest source
}

func (s *earlySource) next(h *hold) ([]byte, error) {
	if b := s.data; len(b) > 0 {
		s.data = nil
		return b, nil
	}
	return s.rest.next(h)
}
