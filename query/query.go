// Package query is the language in which people ask for mail: from:ines is:unread
// -subject:"lantern walk". docs/search.md has its grammar. It knows neither how a server
// is asked nor how a message is looked through.
package query

import "time"

// Op is what a Query asks.
type Op int

const (
	And        Op = iota // all of Of; with none of them, all messages
	Or                   // one of Of
	Not                  // not Of[0]
	Field                // Text is in the header field Key: from, to, cc, bcc, subject; or in the "body"; or in all, "text"
	Since                // it has arrived on Day or later
	Before               // earlier than Day
	Larger               // than Bytes
	Smaller              // than Bytes
	Flag                 // it has the flag Key, as mail.Flags has it
	Attachment           // it has an attachment
	Raw                  // what IMAP's SEARCH finds with the keys in Text (RFC 9051 §6.4.4)
)

// Query is a question about a message.
type Query struct {
	Op    Op
	Of    []Query
	Key   string
	Text  string
	Day   time.Time // midnight, in UTC
	Bytes int64
}
