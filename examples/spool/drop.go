// Drop a job for each line of stdin, a shell command, into a queuectl spool:  go run drop.go SPOOL < commands
package main

import (
	"encoding/json"
	"io"
	"log"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	if len(os.Args) != 2 || os.Chdir(os.Args[1]) != nil {
		log.Fatal("usage: go run drop.go SPOOL < commands")
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil || !utf8.Valid(text) {
		log.Fatal("stdin cannot be read, or is not UTF-8")
	}
	for _, command := range strings.FieldsFunc(string(text), func(c rune) bool { return c == '\n' }) {
		file, err := os.CreateTemp("tmp", time.Now().Format("go-20060102T150405.000000000-*.json"))
		must(err)
		must(json.NewEncoder(file).Encode(map[string]string{"command": command}))
		must(file.Sync()) // on disk before it has a name that counts
		must(os.Rename(file.Name(), strings.Replace(file.Name(), "tmp", "pending", 1)))
	}
	for _, path := range []string{"tmp", "pending"} {
		directory, _ := os.Open(path)
		must(directory.Sync()) // the names are on disk now, too
	}
}
