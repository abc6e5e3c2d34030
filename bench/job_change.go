package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2/imapclient"
)

// change is something that a program does in the folders Change/From and Change/To, of
// which the first has manyMoves+1 messages that were looked at before.
type change struct {
	name    string
	command []string
	trips   int // round trips to the server
	// left is what has to be in From and To then, in messages.
	from, to int
}

const manyMoves = 200

func changes(letter string) []change {
	all := manyMoves + 1
	var many []string
	for i := range manyMoves {
		many = append(many, "Change/From/"+strconv.Itoa(i+1))
	}
	return []change{
		{"mv of one message", []string{"mv", "Change/From/1", "Change/To/"}, 1, all - 1, 1},
		{fmt.Sprintf("mv of %d messages", manyMoves), append(append([]string{"mv"}, many...), "Change/To/"), manyMoves, 1, manyMoves},
		{"cp of a message from elsewhere", []string{"cp", letter, "Change/To/a.eml"}, 1, all, 1},
		{"cp of message.eml to another folder", []string{"cp", "Change/From/1/message.eml", "Change/To/a.eml"}, 1, all, 1},
		{"mkdir", []string{"mkdir", "Change/Made"}, 1, all, 0},
		{"mv of a folder", []string{"mv", "Change/From", "Change/Other"}, 2, 0, 0},
		{"rmdir of a folder", []string{"rmdir", "Change/To"}, 3, all, 0},
	}
}

// changeJob measures each change on folders of its own.
func (b *bench) changeJob(ctx context.Context) error {
	letter := filepath.Join(b.dir, "letter.eml")
	text := "Subject: from elsewhere\r\n\r\n" + strings.Repeat("A line of it.\r\n", 1000)
	if err := os.WriteFile(letter, []byte(text), 0o600); err != nil {
		return err
	}
	n := b.near
	for _, c := range changes(letter) {
		m, err := repeat(b.repeats, func() (measure, error) { return b.changeOnce(ctx, n, c) })
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		b.row(c.name, n, m, roundTrips(m, c.trips))
	}
	return nil
}

func (b *bench) changeOnce(ctx context.Context, n *network, c change) (measure, error) {
	client, err := newClient(b.server.Addr)
	if err != nil {
		return measure{}, err
	}
	defer client.Close()
	if err := makeChangeable(client); err != nil {
		return measure{}, err
	}
	result, err := b.onMount(ctx, n, nil, func(m *mount) (measure, error) {
		// What a person has seen who changes it.
		if err := prepare(ctx, n, m, "sh", "-c", "ls -lR Change; cat Change/From/1/message.eml"); err != nil {
			return measure{}, err
		}
		_, took, err := command(ctx, m.dir, c.command[0], c.command[1:]...)
		return n.measured(took), err
	})
	if err != nil {
		return measure{}, err
	}
	for folder, want := range map[string]int{"Change/From": c.from, "Change/To": c.to} {
		uids, err := allUIDs(client, folder)
		if want > 0 && err != nil || len(uids) != want {
			return measure{}, fmt.Errorf("%s has %d messages, want %d: %v", folder, len(uids), want, err)
		}
	}
	return result, nil
}

// makeChangeable makes the folders anew.
func makeChangeable(c *imapclient.Client) error {
	for _, folder := range []string{"Made", "Other", "From", "To"} {
		c.Delete("Change/" + folder).Wait() // or it is not there
	}
	for _, folder := range []string{"From", "To"} {
		if err := c.Create("Change/"+folder, nil).Wait(); err != nil {
			return err
		}
	}
	for i := range manyMoves + 1 {
		if _, err := appendTo(c, "Change/From", fmt.Appendf(nil, "Subject: change %d\r\n\r\nOne of them.\r\n", i)); err != nil {
			return err
		}
	}
	return nil
}
