package main

import (
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapfs/internal/dovecot"
)

// newClient is another mail program of the same user.
func newClient(addr string) (*imapclient.Client, error) {
	c, err := imapclient.DialInsecure(addr, nil)
	if err != nil {
		return nil, err
	}
	if err := c.Login(dovecot.User, dovecot.Password).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// appendTo delivers a message, and returns its UID.
func appendTo(c *imapclient.Client, folder string, raw []byte) (imap.UID, error) {
	cmd := c.Append(folder, int64(len(raw)), nil)
	cmd.Write(raw)
	cmd.Close()
	data, err := cmd.Wait()
	if err != nil {
		return 0, fmt.Errorf("APPEND: %w", err)
	}
	return data.UID, nil
}

// expunge deletes messages of a folder.
func expunge(c *imapclient.Client, folder string, uids ...imap.UID) error {
	if _, err := c.Select(folder, nil).Wait(); err != nil {
		return err
	}
	flags := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if err := c.Store(imap.UIDSetNum(uids...), flags, nil).Close(); err != nil {
		return err
	}
	gone, err := c.UIDExpunge(imap.UIDSetNum(uids...)).Collect()
	if err == nil && len(gone) != len(uids) {
		err = fmt.Errorf("%d messages of %d were expunged", len(gone), len(uids))
	}
	return err
}

// allUIDs returns the UIDs of a folder, in order.
func allUIDs(c *imapclient.Client, folder string) ([]imap.UID, error) {
	if _, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		return nil, err
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
	if err != nil {
		return nil, err
	}
	return slices.Sorted(slices.Values(found.AllUIDs())), nil
}
