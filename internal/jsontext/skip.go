package jsontext

import "bytes"

// The functions of this file go through a text that has been checked; they panic or err on any other.

// SkipString returns the position after the string whose opening quote is at i.
func SkipString(b []byte, i int) int {
	i = PlainRun(b, i+1)
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		if i++; i&7 == 0 {
			i = PlainRun(b, i)
		}
	}
	return i + 1
}

// SkipScalar returns the position after the number, true, false or null at i.
func SkipScalar(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', ']', '}', ' ', '\n', '\r', '\t':
			return i
		}
		i++
	}
	return i
}

// NextItem returns the position of the item after the one that ends at i, or of the closing bracket.
func NextItem(b []byte, i int) int {
	if i = SkipSpace(b, i); i < len(b) && b[i] == ',' {
		i = SkipSpace(b, i+1)
	}
	return i
}

// KeyIs compares a key in its JSON form, quotes included, with a name.
func KeyIs(key []byte, name string) bool {
	if len(key) == len(name)+2 {
		return string(key[1:len(key)-1]) == name
	}
	if len(key) > 6*len(name)+2 || bytes.IndexByte(key, '\\') < 0 {
		return false
	}
	plain, _ := AppendUnescaped(nil, key[1:len(key)-1])
	return string(plain) == name
}

// Placeholder reads the num of an object {"_placeholder":true,"num":n} that stands for one of count attachments. legal
// says that it is a number in their range; index is negative when it is no whole one.
func Placeholder(num []byte, count int) (index int, legal bool) {
	if len(num) == 0 || num[0] != '-' && !IsDigit(num[0]) {
		return 0, false
	}
	n := ParseNumber(num)
	if !(n >= 0 && n < float64(count)) {
		return 0, false
	}
	if float64(int(n)) != n {
		return -1, true
	}
	return int(n), true
}
