// Drop a job for each line of stdin, a shell command, into a queuectl spool:  java Drop.java SPOOL < commands
// Each is written whole in tmp/, is on disk, and then comes into pending/ by one rename, under a name that nobody else uses.
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.nio.file.StandardOpenOption.*;

import java.io.*;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.*;
import java.util.*;
import java.util.regex.*;

class Drop {
    static final Pattern SPECIAL = Pattern.compile("[\\x00-\\x1f\"\\\\]");

    public static void main(String[] words) throws IOException {
        if (words.length != 1) throw new IllegalArgumentException("usage: java Drop.java SPOOL < commands");
        Path tmp = Path.of(words[0], "tmp"), pending = Path.of(words[0], "pending");
        for (String command : UTF_8.newDecoder().decode(ByteBuffer.wrap(System.in.readAllBytes())).toString().split("\n")) {
            if (command.isEmpty()) continue;
            String text = SPECIAL.matcher(command).replaceAll(m -> String.format("\\\\u%04x", (int) m.group().charAt(0)));
            String name = "java-" + UUID.randomUUID() + ".json";
            try (FileChannel file = FileChannel.open(tmp.resolve(name), CREATE_NEW, WRITE)) {
                ByteBuffer data = UTF_8.encode("{\"command\": \"" + text + "\"}\n");
                while (data.hasRemaining()) file.write(data);
                file.force(true); // on disk before it has a name that counts
            }
            Files.move(tmp.resolve(name), pending.resolve(name), StandardCopyOption.ATOMIC_MOVE);
        }
        for (Path path : List.of(tmp, pending)) {
            try (FileChannel directory = FileChannel.open(path, READ)) {
                directory.force(true); // the names are on disk now, too
            }
        }
    }
}
