import io.socket.client.Ack;
import io.socket.client.IO;
import io.socket.client.Socket;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Base64;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/**
 * A stock socket.io-client for Java that a test drives: one JSON text per line, commands on stdin, what happens on stdout.
 *
 * <p>java Client URL TRANSPORT
 */
public final class Client {
    private static synchronized void say(String event, Object... args) throws JSONException {
        JSONArray line = new JSONArray().put(event);
        for (Object arg : args) {
            line.put(plain(arg));
        }
        System.out.println(line);
    }

    private static void report(String event, Object... args) {
        try {
            say(event, args);
        } catch (JSONException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Bytes as what JSON can show. */
    private static Object plain(Object value) throws JSONException {
        if (value instanceof byte[]) {
            return new JSONObject().put("base64", Base64.getEncoder().encodeToString((byte[]) value));
        }
        return value;
    }

    /** The reverse of plain. */
    private static Object binary(Object value) throws JSONException {
        if (value instanceof JSONObject && ((JSONObject) value).has("base64")) {
            return Base64.getDecoder().decode(((JSONObject) value).getString("base64"));
        }
        return value;
    }

    private static void listen(Socket socket) {
        socket.on(Socket.EVENT_CONNECT, args -> report("connect"));
        socket.on(Socket.EVENT_DISCONNECT, args -> report("disconnect", args[0]));
        for (String name : new String[] {"auth", "message-back"}) {
            socket.on(name, args -> report(name, args));
        }
    }

    private static void follow(Socket socket, JSONArray line) throws JSONException {
        Object[] args = new Object[line.length() - 2];
        for (int i = 0; i < args.length; i++) {
            args[i] = binary(line.get(i + 2));
        }
        if (line.getString(0).equals("call")) {
            socket.emit(line.getString(1), args, (Ack) answer -> report("answer", new Object[] {array(answer)}));
        } else {
            socket.emit(line.getString(1), args);
        }
    }

    private static JSONArray array(Object[] values) {
        JSONArray list = new JSONArray();
        try {
            for (Object value : values) {
                list.put(plain(value));
            }
        } catch (JSONException e) {
            throw new IllegalStateException(e);
        }
        return list;
    }

    public static void main(String[] args) throws Exception {
        IO.Options options = new IO.Options();
        options.transports = new String[] {args[1]};
        options.auth = Map.of("token", "a secret");
        options.reconnectionDelay = 100;
        options.reconnectionDelayMax = 200;
        options.randomizationFactor = 0;
        Socket socket = IO.socket(args[0], options);
        listen(socket);
        socket.connect();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            follow(socket, new JSONArray(line));
        }
        System.exit(0);
    }
}
