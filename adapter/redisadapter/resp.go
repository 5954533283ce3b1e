package redisadapter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// maxReply bounds a text that Redis answers to a command of ours: the id of an entry, at most.
const maxReply = 64 << 10

// refusedReply is an error that Redis answers.
type refusedReply string

func (r refusedReply) Error() string { return string(r) }

// RedisError makes it a redis.Error.
func (refusedReply) RedisError() {}

var errForm = errors.New("redis sent an answer of an unknown form")

// response is what Redis answers to one command: a number, a text, or an error.
type response struct {
	number int64
	text   string
	isText bool
	err    error
}

// appendCommand appends a command in the form of RESP 2 to b.
func appendCommand(b []byte, args []any) []byte {
	b = appendLength(b, '*', len(args))
	var digits [20]byte
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			b = append(appendLength(b, '$', len(arg)), arg...)
		case []byte:
			b = append(appendLength(b, '$', len(arg)), arg...)
		case int:
			text := strconv.AppendInt(digits[:0], int64(arg), 10)
			b = append(appendLength(b, '$', len(text)), text...)
		default:
			text := fmt.Sprint(arg)
			b = append(appendLength(b, '$', len(text)), text...)
		}
		b = append(b, '\r', '\n')
	}
	return b
}

func appendLength(b []byte, kind byte, n int) []byte {
	b = append(b, kind)
	b = strconv.AppendInt(b, int64(n), 10)
	return append(b, '\r', '\n')
}

// readResponse reads an answer in the form of RESP 2. Lists are none that a command of ours has.
func readResponse(r *bufio.Reader) (response, error) {
	line, err := readLine(r)
	if err != nil {
		return response{}, err
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+':
		return response{text: string(rest), isText: true}, nil
	case '-':
		return response{err: refusedReply(rest)}, nil
	case ':':
		n, err := strconv.ParseInt(string(rest), 10, 64)
		if err != nil {
			return response{}, errForm
		}
		return response{number: n}, nil
	case '$':
		return readBulk(r, rest)
	}
	return response{}, errForm
}

// readLine reads a line with at least one character, which is valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, errForm
	}
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, errForm
	}
	return line[:len(line)-2], nil
}

func readBulk(r *bufio.Reader, length []byte) (response, error) {
	n, err := strconv.Atoi(string(length))
	switch {
	case err != nil || n < -1 || n > maxReply:
		return response{}, errForm
	case n == -1:
		return response{}, nil
	}
	text := make([]byte, n+2)
	if _, err := io.ReadFull(r, text); err != nil {
		return response{}, err
	}
	if text[n] != '\r' || text[n+1] != '\n' {
		return response{}, errForm
	}
	return response{text: string(text[:n]), isText: true}, nil
}
