import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * A real Elasticsearch node without its distribution: {@code java -cp JARS TestNode HOME}.
 *
 * <p>HOME holds {@code config/elasticsearch.yml}, {@code config/log4j2.properties} and {@code modules/}. What the
 * distribution's own start-up adds (bootstrap checks, entitlements, native access) is left out, and so is every optional
 * module that HOME does not hold: for tests on loopback, never for data that matters.
 */
final class TestNode {
  private TestNode() {}

  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(arguments[0]).toAbsolutePath();
    Environment environment = environmentOf(home);
    LogConfigurator.configureESLogging();
    LogConfigurator.configure(environment, true);
    var modules = PluginsLoader.loadModulesBundles(home.resolve("modules"));
    Node node = new Node(environment, PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), false));
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
    node.start();
    Thread.currentThread().join(); // Elasticsearch's own threads are daemons: this one keeps the process
  }

  private static Environment environmentOf(Path home) {
    Map<String, String> paths = Map.of("path.home", home.toString());
    return InternalSettingsPreparer.prepareEnvironment(Settings.EMPTY, paths, home.resolve("config"), () -> "unnamed");
  }

  private static void close(Node node) {
    try {
      node.close();
    } catch (IOException failure) {
      failure.printStackTrace();
    }
  }
}
