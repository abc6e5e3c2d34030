package imapbackend

import (
	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/imapbackend/wire"
)

// glance asks something of many folders in one flight, on a connection that has no folder for
// others meanwhile: EXAMINE of each, and behind it what ask sends. What ask returns waits for
// the answer, whether the folder could be opened or not, and returns what has failed. That the
// server refuses a folder is no error. Who glances holds Backend.arranging for reading: while
// a folder is renamed or deleted nobody may be in it.
func (l *lease) glance(what string, folders []string, ask func(folder string) (answer func(opened error) error)) error {
	type look struct {
		folder  string
		examine *imapclient.SelectCommand
		answer  func(opened error) error
	}
	return l.command(what, func() error {
		var looks []look
		for _, folder := range folders {
			examine := l.client.Select(l.b.onWire(folder), &imap.SelectOptions{ReadOnly: true})
			looks = append(looks, look{folder, examine, ask(folder)})
		}
		// Who looks into a folder is in no one's way afterwards.
		leave := l.client.UnselectAndExpunge // CLOSE: nothing is expunged behind EXAMINE
		if l.caps.Has(imap.CapUnselect) {
			leave = l.client.Unselect
		}
		left := leave()
		var failed error
		for _, k := range looks {
			_, err := k.examine.Wait()
			switch err = k.answer(err); {
			case isStatus(err):
				l.b.log.Debug("nobody can look into a folder", "folder", l.b.fullName(k.folder), "error", plain(l.b.secrets.hide(err.Error())))
			case err != nil:
				failed = err
			}
		}
		if err := left.Wait(); err != nil && !isStatus(err) { // there is none to leave if the last one was refused
			failed = err
		}
		return failed
	})
}

// visit is what the server has said in one of the folders of a glance.
type visit struct {
	mailbox mailbox
	found   []wire.Range // by SEARCH
	// There was an answer to it, of which not all are UIDs, or can be read.
	searched, isOdd bool
}

// visit has what the server says noted for each folder of a glance, until leave.
func (e *ear) visit() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.visits = []visit{}
}

func (e *ear) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.visits = nil
}

// visited returns what was said in the folder that was opened as the i-th.
func (e *ear) visited(i int) visit {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i >= len(e.visits) {
		return visit{}
	}
	return e.visits[i]
}

// opened begins with the next folder, at the end of EXAMINE. It is called with e.mu held.
func (e *ear) opened() {
	if e.visits != nil {
		e.visits = append(e.visits, visit{mailbox: e.mailbox})
		e.mailbox = mailbox{} // the next EXAMINE is under way
	}
}

// hear notes an answer to SEARCH. It is called with e.mu held.
func (e *ear) hear(found wire.Found) {
	if n := len(e.visits); n > 0 {
		v := &e.visits[n-1]
		v.searched = true
		v.isOdd = v.isOdd || found.IsOdd()
		v.found = append(v.found, found.Ranges...)
	}
}
