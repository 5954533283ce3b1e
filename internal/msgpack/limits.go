package msgpack

// MaxWriteDepth is the deepest nesting of arrays and objects in a written payload. It leaves Node's decoders, which are
// recursive, two thirds of their stack.
const MaxWriteDepth = 1024

// Limits bound what reading one frame may cost. Nil and zero fields mean the defaults.
type Limits struct {
	// MaxBytes is the longest frame, in bytes. Default 64 MiB.
	MaxBytes int
	// MaxDepth is the deepest nesting of arrays and maps in a payload. Default and upper bound 4096, as in package
	// parser.
	MaxDepth int
	// MaxAttachments is the highest number of binary values in a payload. Default 65,536; the reference has no limit.
	MaxAttachments int
}

const (
	defaultMaxBytes       = 64 << 20
	maxReadDepth          = 4096
	defaultMaxAttachments = 1 << 16
)

func (l *Limits) maxBytes() int {
	if l == nil || l.MaxBytes <= 0 {
		return defaultMaxBytes
	}
	return l.MaxBytes
}

func (l *Limits) maxDepth() int {
	if l == nil || l.MaxDepth <= 0 || l.MaxDepth > maxReadDepth {
		return maxReadDepth
	}
	return l.MaxDepth
}

func (l *Limits) maxAttachments() int {
	if l == nil || l.MaxAttachments <= 0 {
		return defaultMaxAttachments
	}
	return l.MaxAttachments
}
