package redisadapter

import (
	"strconv"

	"github.com/redis/go-redis/v9"
)

// setDefault replaces the zero value.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func databaseOf(c *redis.Client) string { return strconv.Itoa(c.Options().DB) }
