package cache

import (
	"errors"
	"io"
	"os"
	"path"
	"strconv"

	"go.etcd.io/bbolt"
)

// readFile returns the value that is a file, nil if it is not there or of
// another size.
func (s *store) readFile(e entry) []byte {
	file, err := s.root.Open(fileName(e.number))
	if err != nil {
		return nil
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || info.Size() != e.size {
		return nil
	}
	value := make([]byte, e.size)
	if _, err := io.ReadFull(file, value); err != nil {
		return nil
	}
	return value
}

// writeFile writes a value that is to be a file. Nothing names it until the
// database does, and if it is torn its checksum tells: so it is not synced.
func (s *store) writeFile(number uint64, value []byte) error {
	name := fileName(number)
	file, err := s.root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(value)
	if err = errors.Join(err, file.Close()); err != nil {
		s.root.Remove(name)
	}
	return err
}

// removeStrays removes the files that no entry names: a crash leaves some.
func (s *store) removeStrays() error {
	dir, err := s.root.Open(filesName)
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	return s.view(func(tx *bbolt.Tx) error {
		files := tx.Bucket(filesBucket)
		for _, name := range names {
			number, err := strconv.ParseUint(name, 10, 64)
			if err != nil || files.Get(numberKey(number)) == nil {
				s.root.RemoveAll(path.Join(filesName, name))
			}
		}
		return nil
	})
}
