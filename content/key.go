package content

import (
	"encoding/binary"
	"strconv"

	"imapfs/mail"
)

// The keys in the cache are made so that all of a folder, and all of a message,
// have a prefix in common.
const mailPrefix = "mail\x00"

func folderPrefix(folder string) string { return mailPrefix + folder + "\x00" }

// validityPrefix is folderPrefix for the messages of one UIDVALIDITY.
func validityPrefix(folder string, validity uint32) string {
	b := append(make([]byte, 0, len(folder)+64), folderPrefix(folder)...)
	return string(binary.BigEndian.AppendUint32(b, validity))
}

func messagePrefix(id mail.ID) string {
	return string(binary.BigEndian.AppendUint32([]byte(validityPrefix(id.Folder, id.UIDValidity)), id.UID))
}

// pieceKey names bytes of a message.
func pieceKey(id mail.ID, section string, off, size int64) string {
	b := append([]byte(messagePrefix(id)), section...)
	b = append(b, '/')
	b = strconv.AppendInt(b, off, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, size, 10))
}

// startKey names the first bytes of a message, which are all of a small one.
func startKey(id mail.ID) string { return pieceKey(id, "", 0, wholeSize) }

func layoutKey(id mail.ID) string {
	return messagePrefix(id) + "layout" + strconv.Itoa(mail.Version)
}

// textsKey names the text of a chunk of messages: no message has the UID 0.
func textsKey(folder string, validity, chunk uint32) string {
	key := messagePrefix(mail.ID{Folder: folder, UIDValidity: validity}) + "texts" + strconv.Itoa(mail.Version) + "/"
	return key + strconv.FormatUint(uint64(chunk), 10) + "/" // that of another one does not begin so
}

// fileKey names a file of a message.
type fileKey struct {
	id      mail.ID
	kind    Kind
	section string // of an attachment and of HTML
}

// size names the file's exact size on the disk.
func (k fileKey) size() string {
	key := append([]byte(messagePrefix(k.id)), "size"...)
	key = strconv.AppendInt(key, mail.Version, 10)
	key = append(key, '/')
	key = append(key, k.section...)
	return string(append(key, byte(k.kind)))
}
