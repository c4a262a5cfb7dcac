-- The database of ftpgate and its two roles. Run once by a superuser, with psql of PostgreSQL 14 or newer:
--
--     FTPGATE_OWNER_PASSWORD=… FTPGATE_PASSWORD=… psql -v ON_ERROR_STOP=1 -f postgresql.sql
--
-- ftpgate_owner owns the tables and runs the migrations; ftpgate, which the services log in as, reads and writes rows but
-- can change no table.

\getenv owner_password FTPGATE_OWNER_PASSWORD
\getenv password FTPGATE_PASSWORD
CREATE ROLE ftpgate_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE ftpgate LOGIN PASSWORD :'password';

-- Words are compared and sorted the same on every machine.
CREATE DATABASE ftpgate OWNER ftpgate_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';
REVOKE ALL ON DATABASE ftpgate FROM PUBLIC;
GRANT CONNECT ON DATABASE ftpgate TO ftpgate;

\connect ftpgate
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO ftpgate_owner;
GRANT USAGE ON SCHEMA public TO ftpgate;
ALTER DEFAULT PRIVILEGES FOR ROLE ftpgate_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ftpgate;
ALTER DEFAULT PRIVILEGES FOR ROLE ftpgate_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO ftpgate;
