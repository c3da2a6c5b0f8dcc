# What a package contains: the daemon, its plugins, the one header with a .pc file for plugin authors, configuration, unit, papers.
# Works with DESTDIR and with another --prefix; the daemon's built-in plugin folder is that of the configured prefix.
set(MINTD_CONF_DIR ${CMAKE_INSTALL_SYSCONFDIR}/mintd)
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  set(MINTD_CONF_DIR ${CMAKE_INSTALL_FULL_SYSCONFDIR}/mintd)        # /etc, not /usr/etc
endif()
set(MINTD_UNIT_DIR lib/systemd/system CACHE STRING "where the systemd unit goes")

get_property(plugins GLOBAL PROPERTY MINTD_PLUGINS)
install(TARGETS mintd mintctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
        GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
foreach(plugin IN LISTS plugins)
  install(TARGETS ${plugin} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/mintd PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
          GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endforeach()
install(DIRECTORY DESTINATION ${CMAKE_INSTALL_LIBDIR}/mintd)
install(FILES include/mintd/plugin.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mintd)
install(FILES conf/dev.cfg conf/prod.cfg conf/pipeline.cfg DESTINATION ${MINTD_CONF_DIR})
install(DIRECTORY conf/examples DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_BINARY_DIR}/completion/mintctl.bash DESTINATION share/bash-completion/completions RENAME mintctl)
install(FILES ${CMAKE_BINARY_DIR}/completion/mintctl.zsh DESTINATION share/zsh/vendor-completions RENAME _mintctl)
install(FILES ${CMAKE_BINARY_DIR}/completion/mintctl.fish DESTINATION share/fish/vendor_completions.d)
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md" PATTERN "*.svg" PATTERN man EXCLUDE)

# The manual, built with all the rest.
find_program(SCDOC scdoc REQUIRED)
file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.scd)
foreach(source IN LISTS pages)
  get_filename_component(page ${source} NAME_WLE)          # mintd.8
  string(REGEX REPLACE ".*\\." "" section ${page})
  set(built ${CMAKE_BINARY_DIR}/man/${page})
  add_custom_command(OUTPUT ${built} COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
                     COMMAND sh -c "\"$0\" < \"$1\" > \"$2\"" ${SCDOC} ${source} ${built} DEPENDS ${source} VERBATIM)
  list(APPEND manual ${built})
  install(FILES ${built} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()
add_custom_target(manual ALL DEPENDS ${manual})

# Both name paths of the place where it ends up, which only the install knows.
set(pc ${CMAKE_BINARY_DIR}/mintd.pc)
set(unit ${CMAKE_BINARY_DIR}/mintd.service)
file(STRINGS include/mintd/plugin.h abi REGEX "MINTD_ABI_MAJOR = ")
string(REGEX REPLACE ".*MINTD_ABI_MAJOR = ([0-9]+), MINTD_ABI_MINOR = ([0-9]+).*" "\\1;\\2" abi "${abi}")
list(GET abi 0 abi_major)
list(GET abi 1 abi_minor)
set(paths "
  set(prefix \"\${CMAKE_INSTALL_PREFIX}\")
  if(NOT prefix STREQUAL \"${CMAKE_INSTALL_PREFIX}\")
    message(STATUS \"mintd looks for its plugins in ${MINTD_PLUGIN_DIR}: name the installed folder as plugin_dir, or configure with -DCMAKE_INSTALL_PREFIX=\${prefix}\")
  endif()")
install(CODE "${paths}
  file(WRITE \"${pc}\" \"prefix=\${prefix}
includedir=\\\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}
plugindir=\\\${prefix}/${CMAKE_INSTALL_LIBDIR}/mintd
abi_major=${abi_major}
abi_minor=${abi_minor}

Name: mintd
Description: header for plugins of the minting daemon mintd; install them into plugindir
Version: ${PROJECT_VERSION}
Cflags: -I\\\${includedir}
\")
  set(bindir \"\${prefix}/${CMAKE_INSTALL_BINDIR}\")
  set(libdir \"\${prefix}/${CMAKE_INSTALL_LIBDIR}\")
  set(conf \"${MINTD_CONF_DIR}\")
  if(NOT IS_ABSOLUTE \"\${conf}\")
    set(conf \"\${prefix}/\${conf}\")
  endif()
  configure_file(\"${CMAKE_SOURCE_DIR}/conf/mintd.service.in\" \"${unit}\" @ONLY)")
install(FILES ${pc} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${unit} DESTINATION ${MINTD_UNIT_DIR})
