package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"

	"imapfs/internal/dovecot"
)

// wire is as little of an IMAP client as it takes to read mail as fast as the
// server sends it.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialWire(addr string) (*wire, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	w := &wire{conn, bufio.NewReaderSize(conn, 256<<10)}
	if _, err := w.in.ReadString('\n'); err != nil {
		conn.Close()
		return nil, err
	}
	if _, err := w.do("LOGIN %s %s", dovecot.User, dovecot.Password); err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) close() { w.conn.Close() }

// do sends a command, throws the literals of the answer away, and returns its
// lines.
func (w *wire) do(format string, args ...any) (lines []string, err error) {
	command := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintf(w.conn, "a %s\r\n", command); err != nil {
		return nil, err
	}
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if n, ok := literalSize(line); ok {
			if _, err := io.CopyN(io.Discard, w.in, n); err != nil {
				return nil, err
			}
		}
		if status, ok := strings.CutPrefix(line, "a "); ok {
			if !strings.HasPrefix(status, "OK") {
				name, _, _ := strings.Cut(command, " ")
				return nil, fmt.Errorf("the server answers %s with: %s", name, status)
			}
			return lines, nil
		}
		lines = append(lines, line)
	}
}

// fetch reads items of all messages of a folder, and returns how many messages
// there were.
func (w *wire) fetch(folder, items string) (int, error) {
	if _, err := w.do("EXAMINE %s", folder); err != nil {
		return 0, err
	}
	lines, err := w.do("UID FETCH 1:* (%s)", items)
	n := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "* ") && strings.Contains(line, " FETCH (") {
			n++
		}
	}
	return n, err
}
