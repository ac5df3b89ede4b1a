<?php // In place of Composer's: the framework comes from Debian's packages.
foreach (['Bundle/FrameworkBundle', 'Component/Console', 'Component/Dotenv', 'Component/Lock', 'Component/Messenger',
    'Component/Messenger/Bridge/Doctrine', 'Component/Messenger/Bridge/Redis', 'Component/PropertyAccess',
    'Component/Serializer', 'Component/Yaml'] as $part) {
    if (!stream_resolve_include_path("Symfony/$part/autoload.php")) {
        fwrite(STDERR, "Symfony's $part is missing: scripts/setup test installs it\n");
        exit(10);
    }
    require_once "Symfony/$part/autoload.php";
}
require_once 'Doctrine/DBAL/autoload.php';
require_once 'Doctrine/Persistence/autoload.php';
require_once dirname(__DIR__) . '/src/messages.php';
require_once dirname(__DIR__) . '/src/Kernel.php';

return new stdClass();
