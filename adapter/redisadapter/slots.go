package redisadapter

import "strings"

// crc16 is CRC-16/XMODEM (polynomial 0x1021), four bits at a time: the hash of the Redis Cluster specification.
var crc16Nibbles = func() (table [16]uint16) {
	for i := range table {
		crc := uint16(i) << 12
		for range 4 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()

// slotOf returns the hash slot of a key or shard channel. Of a name with a non-empty {tag} only the tag counts.
func slotOf(name string) uint16 {
	if open := strings.IndexByte(name, '{'); open >= 0 {
		if length := strings.IndexByte(name[open+1:], '}'); length > 0 {
			name = name[open+1 : open+1+length]
		}
	}
	var crc uint16
	for i := range len(name) {
		crc = crc<<4 ^ crc16Nibbles[crc>>12^uint16(name[i]>>4)]
		crc = crc<<4 ^ crc16Nibbles[crc>>12^uint16(name[i]&15)]
	}
	return crc & 16383
}
