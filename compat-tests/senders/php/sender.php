<?php
// Sends what it is told, one JSON object per line, in the form of PHP's emitter, in which an empty list of flags is a list, and says when
// Redis has it. The emitter itself is a file around these two extensions.
[, $host, $port, $key, $namespace] = $argv;
$redis = new Redis();
$redis->connect($host, (int) $port);
while (($line = fgets(STDIN)) !== false) {
    $order = json_decode($line, true);
    $rooms = $order['rooms'] ?? [];
    $flags = array_fill_keys($order['flags'] ?? [], true);
    $packet = ['type' => 2, 'data' => $order['args'], 'nsp' => $namespace];
    $channel = "$key#$namespace#" . (count($rooms) === 1 ? "$rooms[0]#" : '');
    $redis->publish($channel, msgpack_pack(['emitter', $packet, ['rooms' => $rooms, 'flags' => $flags]]));
    echo json_encode('sent'), "\n";
}
