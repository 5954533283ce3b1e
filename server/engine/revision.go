package engine

const newestRevision = 4

// revision is what a revision of the protocol says of a session.
type revision struct {
	number    int
	heartbeat heartbeat
	// How packets travel, and how with clients that asked for texts only (b64 in their query). Nil: not spoken here.
	messages, texts *messageRules
	payloads, plain *payloadFraming
}

// revisions are what sessions can speak, by number. Of revision 3 there is the heartbeat alone, so that no client is
// offered it; its framing belongs here.
var revisions = [newestRevision + 1]*revision{
	3: {number: 3, heartbeat: clientPings{}},
	4: {number: 4, heartbeat: serverPings{}, messages: messages4, texts: texts4, payloads: payloads4, plain: payloads4},
}

// spoken returns the revision of a number, nil if it is not offered.
func spoken(number int) *revision {
	if number < 0 || number > newestRevision || revisions[number] == nil || revisions[number].payloads == nil {
		return nil
	}
	return revisions[number]
}
