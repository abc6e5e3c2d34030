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
	if _, err = w.in.ReadString('\n'); err == nil {
		_, err = w.do("LOGIN %s %s", dovecot.User, dovecot.Password)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) close() { w.conn.Close() }

// do sends a command, throws the answer away, and returns of how many messages
// it was.
func (w *wire) do(format string, args ...any) (messages int, err error) {
	command := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintf(w.conn, "a %s\r\n", command); err != nil {
		return 0, err
	}
	for {
		line, err := w.in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		line = strings.TrimRight(line, "\r\n")
		if n, ok := literalSize(line); ok {
			if _, err := io.CopyN(io.Discard, w.in, n); err != nil {
				return 0, err
			}
		}
		if strings.HasPrefix(line, "* ") && strings.Contains(line, " FETCH (") {
			messages++
		}
		if status, ok := strings.CutPrefix(line, "a "); ok {
			if !strings.HasPrefix(status, "OK") {
				name, _, _ := strings.Cut(command, " ")
				err = fmt.Errorf("the server answers %s with: %s", name, status)
			}
			return messages, err
		}
	}
}

// fetch reads items of all messages of a folder, and returns how many messages
// there were.
func (w *wire) fetch(folder, items string) (int, error) {
	if _, err := w.do("EXAMINE %s", folder); err != nil {
		return 0, err
	}
	return w.do("UID FETCH 1:* (%s)", items)
}
